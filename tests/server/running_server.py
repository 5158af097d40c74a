"""A server under test: its process, and ways to talk to it that clients would not choose."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

HOST = "127.0.0.1"


# Sanitizers cost ten times the time and several times the memory: figures are not held against them.
def is_sanitized(binary):
    return re.search("[at]san", binary) is not None


SANITIZED = is_sanitized(os.environ.get("MINIINFER_BINARY", ""))


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Stalls:
    """How long the machine kept a thread that only sleeps from going on. On a quiet machine nothing; on one that is busy
    or stood still, what time limits must not count."""

    SLEEP, USUAL = 0.01, 0.05

    def __init__(self):
        self.total = self.longest = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        last = time.monotonic()
        while True:
            time.sleep(self.SLEEP)
            now = time.monotonic()
            late = now - last - self.SLEEP
            last = now
            if late > self.USUAL:
                self.total += late
                self.longest = max(self.longest, late)


STALLS = Stalls()


class Stopwatch:
    """Seconds since it was made in which the machine let us run."""

    def __init__(self):
        self.begin, self.stalled = time.monotonic(), STALLS.total

    def seconds(self):
        return time.monotonic() - self.begin - (STALLS.total - self.stalled)


class RunningServer:
    def __init__(self, binary, *flags, scheme="http", env=None):
        self.sanitized = is_sanitized(str(binary))
        self.patience = 20 if self.sanitized else 1  # a factor of every time that is waited
        self.port = free_port()
        self.log = tempfile.TemporaryFile("w+")
        watch = Stopwatch()
        self.process = subprocess.Popen([binary, "serve", *map(str, flags), "--port", str(self.port)], stderr=self.log,
                                        stdin=subprocess.DEVNULL, env=env)
        self.url = f"{scheme}://{HOST}:{self.port}"
        self._wait()
        self.seconds_to_ready = watch.seconds()

    def _wait(self):
        for _ in range(2000 * self.patience):
            if self.process.poll() is not None:
                raise RuntimeError(f"exit {self.process.returncode}: {self.lines()}")
            try:
                socket.create_connection((HOST, self.port), 1).close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError("the server does not listen")

    def lines(self):
        self.log.seek(0)
        return self.log.read().splitlines()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        watch = Stopwatch()
        while self.process.poll() is None:
            assert watch.seconds() < timeout * self.patience, f"it runs on: {self.lines()[-5:]}"
            time.sleep(0.005)
        return self.process.returncode

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    # -- requests

    def connect(self, timeout=30):
        return http.client.HTTPConnection(HOST, self.port, timeout=timeout * self.patience)

    def request(self, method, path, body=None, headers=None, timeout=30):
        """Status, headers and body of one request over a connection of its own."""
        connection = self.connect(timeout)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            if isinstance(body, str):
                body = body.encode("utf-8", "surrogatepass")
            given = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, {**given, **(headers or {})})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            connection.close()

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body, **options):
        return self.request("POST", path, body, **options)

    def chat(self, text="What is the capital of France?", **fields):
        options = {name: fields.pop(name) for name in ("headers", "timeout") if name in fields}
        return self.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields}, **options)

    def raw(self, data, timeout=10, shutdown=False):
        """What comes back for these bytes until the server closes the connection."""
        with socket.create_connection((HOST, self.port), timeout) as sock:
            try:
                sock.sendall(data)
            except (ConnectionResetError, BrokenPipeError):
                pass
            if shutdown:
                sock.shutdown(socket.SHUT_WR)
            received = b""
            try:
                while piece := sock.recv(65536):
                    received += piece
            except (ConnectionResetError, socket.timeout):
                pass
            return received

    def metrics(self, **options):
        """Every sample of /metrics by its name and labels, those of the model left out."""
        samples = {}
        for line in self.get("/metrics", **options).text.splitlines():
            if line.startswith("#"):
                continue
            name, value = line.rsplit(" ", 1)
            name = re.sub(r'model_name="[^"]*",engine="0",?', "", name).replace("{}", "")
            samples[name] = float(value)
        return samples

    def wait_for(self, condition, seconds=10, **options):
        """The metrics, once they satisfy the condition."""
        watch = Stopwatch()
        while True:
            metrics = self.metrics(**options)
            if condition(metrics):
                return metrics
            assert watch.seconds() < seconds * self.patience, {k: v for k, v in metrics.items() if "bucket" not in k}
            time.sleep(0.02)


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json["error"]

    @property
    def events(self):
        """The data of a stream's events; the end mark as it stands."""
        data = [event.removeprefix("data: ") for event in self.text.split("\n\n") if event]
        return [text if text == "[DONE]" else json.loads(text) for text in data]
