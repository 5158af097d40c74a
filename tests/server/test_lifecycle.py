"""Starting, health, and ending under load."""

import http.client
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from running_server import HOST, SANITIZED, RunningServer, Stopwatch

ROUNDS = int(os.environ.get("MINIINFER_SIGTERM_ROUNDS", "10"))


def test_ready_in_two_seconds(start):
    server = start()
    assert SANITIZED or server.seconds_to_ready < 2
    server.get("/health")  # it listens before it says so
    watch = Stopwatch()
    while not (ready := [line for line in server.lines() if " ready " in line]):
        assert watch.seconds() < 5
    (line,) = ready
    assert f"url=http://127.0.0.1:{server.port}" in line and "model=tiny-assistant" in line and "total_bytes=" in line


def test_drain(start):
    """New requests are refused, health says so, what runs finishes, exit 0."""
    server = start()
    replies = []

    def stream():
        replies.append(server.chat(max_tokens=200 if SANITIZED else 1900, ignore_eos=True, stream=True, timeout=60))

    threads = [threading.Thread(target=stream) for _ in range(8)]
    for thread in threads:
        thread.start()
    server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] == 8)
    server.signal()
    for _ in range(100):
        health = server.get("/health")
        if health.status == 503:
            break
        time.sleep(0.005)
    assert health.status == 503 and health.headers["Retry-After"]
    refused = server.chat()
    assert refused.status == 503 and refused.headers["Retry-After"]
    for thread in threads:
        thread.join()
    assert server.wait() == 0
    for reply in replies:
        assert reply.events[-1] == "[DONE]" and reply.events[-2]["choices"][0]["finish_reason"] == "length"


def test_drain_has_a_deadline(start):
    server = start("--drain-timeout", 0.2)
    replies = []

    def long(stream):
        replies.append(server.chat(max_tokens=1900, ignore_eos=True, n=16, stream=stream))

    threads = [threading.Thread(target=long, args=[stream])
               for stream in (False, True)]
    for thread in threads:
        thread.start()
    server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] == 32)
    watch = Stopwatch()
    server.signal()
    assert server.wait() == 0 and (SANITIZED or watch.seconds() < 3)
    for thread in threads:
        thread.join()
    assert sorted(reply.status for reply in replies) == [200, 503]
    (stream,) = [reply for reply in replies if reply.status == 200]
    assert "shutting down" in stream.events[-1]["error"]["message"]


def test_refused_clients_do_not_keep_a_server_from_ending(start):
    """Two dozen that ask again at once: some refusal is always on its way."""
    server = start()
    refused = []

    def client():
        while server.process.poll() is None:
            try:
                refused.append(server.chat(max_tokens=1).status)
            except (OSError, http.client.HTTPException):
                pass

    threads = [threading.Thread(target=client) for _ in range(24)]
    for thread in threads:
        thread.start()
    running = threading.Thread(target=lambda: server.chat(max_tokens=1000, ignore_eos=True, n=8, timeout=60))
    running.start()
    server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] >= 8)
    server.signal()
    running.join()
    begin = time.monotonic()
    assert server.wait(10) == 0
    print(f"gone {time.monotonic() - begin:.2f} s after the last reply, {refused.count(503)} were refused")
    for thread in threads:
        thread.join()
    assert 503 in refused


def test_a_request_that_arrives_when_the_signal_comes_is_answered(start):
    server = start()
    body = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}).encode()
    with socket.create_connection((HOST, server.port), 30) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body[:20])
        time.sleep(0.2)
        server.signal()
        while server.get("/health").status != 503:
            time.sleep(0.01)
        sock.sendall(body[20:])
        reply = b""
        while b"Paris" not in reply:
            piece = sock.recv(4096)
            assert piece, "the connection was closed on it"
            reply += piece
    assert server.wait() == 0


def test_a_second_signal_stops_at_once(start):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = start()
        thread = threading.Thread(target=lambda: pytest.raises(Exception, server.chat, max_tokens=1900, ignore_eos=True, n=16))
        thread.start()
        server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] > 0)
        server.signal(number)
        time.sleep(0.1)
        watch = Stopwatch()
        server.signal(number)
        assert server.wait() == 128 + number and (SANITIZED or watch.seconds() < 1)
        thread.join()


def test_signals_under_load(miniinfer):
    rng = random.Random(seed := random.randrange(1 << 30))
    print("seed", seed)
    for _ in range(ROUNDS):
        server = RunningServer(miniinfer, "--max-num-seqs", "8")
        stop = threading.Event()
        broken = []

        def client():
            while not stop.is_set():
                try:
                    reply = server.chat(max_tokens=rng.choice([1, 30, 200]), ignore_eos=True, stream=rng.random() < 0.5)
                    if reply.status == 200 and b"choices" not in reply.body:
                        broken.append(reply.body)
                except OSError:
                    return

        threads = [threading.Thread(target=client) for _ in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0, 0.3))
        server.signal()
        assert server.wait(20) == 0, server.lines()[-5:]
        stop.set()
        for thread in threads:
            thread.join()
        assert not broken
        server.stop()


def test_tls(start, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                           key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                           "subjectAltName=DNS:localhost,IP:127.0.0.1"], capture_output=True)
    if made.returncode != 0:
        pytest.skip("no openssl here")
    server = start("--ssl-certfile", certificate, "--ssl-keyfile", key, scheme="https")
    context = ssl.create_default_context(cafile=certificate)
    body = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0, "stream": True})
    request = urllib.request.Request(server.url + "/v1/chat/completions", body.encode(), {"Content-Type": "application/json"})
    for _ in range(5):
        text = urllib.request.urlopen(request, context=context, timeout=10).read().decode()
        assert text.endswith("data: [DONE]\n\n") and "Paris" in text
    with socket.create_connection((HOST, server.port), 5) as sock:  # no TLS: no answer, and no harm
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not sock.recv(1000).startswith(b"HTTP")
    with pytest.raises(ssl.SSLError):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.wrap_socket(socket.create_connection((HOST, server.port), 5))
    server.signal()
    assert server.wait() == 0


def test_served_names_leave_the_model_its_place(start, root):
    checkpoint = root / "tests/golden/checkpoints/qwen3-chat-bf16"
    server = start("--served-model-name", "first", "--served-model-name", "second", "--allowed-hosts", "a.example", checkpoint)
    assert [card["id"] for card in server.get("/v1/models").json["data"]] == ["first", "second"]
    for name in ("first", "second"):
        reply = server.chat(model=name, max_tokens=2)
        assert reply.status == 200 and reply.json["model"] == "first"
    assert server.chat(model=str(checkpoint)).status == 404
