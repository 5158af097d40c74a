"""An OpenAI-compatible server that keeps to a script: each request says when its pieces come and how it fails."""

import contextlib
import http.server
import json
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.note("connections")

    def log_message(self, *arguments):
        pass

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.reply(200, {"object": "list", "data": [{"id": "scripted", "max_model_len": self.server.context}]})

    def do_POST(self):
        came = time.monotonic()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script = body.get("script", {"gaps_s": []})
        with self.server.busy():
            self.server.requests.append((came, self.path, body, self.headers.get("Authorization")))
            if "status" in script:
                return self.reply(script["status"], {"error": {"message": "as the script says"}})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.stream(script)
        if script.get("close"):
            self.close_connection = True
        return None

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, value):
        self.chunk(f"data: {json.dumps(value)}\n\n")

    def stream(self, script):
        self.event({"choices": [{"index": 0, "text": ""}]})
        at = time.monotonic()
        for i, gap in enumerate(script["gaps_s"]):
            at += gap
            time.sleep(max(0, at - time.monotonic()))
            self.event({"choices": [{"index": 0, "text": f"{i} "}]})
        if "error" in script:
            self.event({"error": {"message": script["error"]}})
        elif not script.get("cut"):
            tokens = script.get("tokens", len(script["gaps_s"]))
            self.event({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}})
            self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")


class ScriptedServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, context=2048, tls=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.scheme = "https" if tls else "http"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.context = context
        self.requests = []
        self.counts = {"connections": 0, "busy": 0, "most busy": 0}
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    def note(self, name, change=1):
        with self.lock:
            self.counts[name] += change
            self.counts["most busy"] = max(self.counts["most busy"], self.counts["busy"])

    @contextlib.contextmanager
    def busy(self):
        self.note("busy")
        yield
        self.note("busy", -1)
