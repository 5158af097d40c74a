"""Who may ask: keys, names, origins, and what a server refuses to be started as."""

import base64
import json
import os
import socket
import subprocess
import time

import pytest
from running_server import HOST

ROUTES = ["/", "/v1/models", "/v1/models/tiny-assistant", "/version", "/load", "/metrics", "/v1/completions", "/v1/chat/completions",
          "/tokenize", "/detokenize"]
ODD_PATHS = ["//v1/models", "/v1//models", "/%76%31/models", "/v1/models/../../metrics", "/health/../metrics", "/health/", "/health%20",
             "/HEALTH", "/health;x", "/nothing", "/v1", "*", "/ping/x"]


def test_every_route_but_liveness_needs_a_key(start):
    server = start("--api-key", "first", "--api-key", "second")
    wrong = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}, {"Authorization": "first"},
             {"Authorization": "Bearer firs"}, {"Authorization": "Bearer first2"}, {"Authorization": "Bearer FIRST"},
             {"Authorization": "Basic " + base64.b64encode(b"x:first").decode()}, {"Authorization": "Basic !!!"}, {"api-key": "first"}]
    for path in ROUTES + ODD_PATHS:
        for headers in wrong:
            for method, body in (("GET", None), ("POST", "{}"), ("DELETE", None), ("OPTIONS", None)):
                reply = server.request(method, path, body, headers)
                assert reply.status == 401 and reply.headers["WWW-Authenticate"], (path, method, headers)
                assert reply.error["code"] == "invalid_api_key"
    for path in ("/health", "/ping"):
        assert server.get(path).status == 200
    for key in ("first", "second"):
        headers = {"Authorization": f"Bearer {key}"}
        for path in ROUTES:
            assert server.get(path, headers=headers).status in (200, 405), path
        for path in ODD_PATHS:
            assert server.get(path, headers=headers).status == 404, path
    # A browser shows what comes with the 401: the page, which has a field for the key.
    page = server.get("/", headers={"Accept": "text/html,*/*"})
    assert page.status == 401 and page.headers["WWW-Authenticate"] == "Bearer"
    assert page.headers["Content-Type"].startswith("text/html") and page.headers["Content-Security-Policy"]
    for path in ("/v1/models", "/metrics"):
        assert server.get(path, headers={"Accept": "text/html"}).error["code"] == "invalid_api_key"
    log = "\n".join(server.lines())
    assert "first" not in log and "second" not in log.replace("seconds", "")


def test_keys_from_file_and_environment(start, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# comment\none\n\ntwo \n")
    server = start("--api-key-file", keys)
    for key, status in (("one", 200), ("two", 200), ("# comment", 401), ("", 401)):
        assert server.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status == status
    server = start(env={**os.environ, "MINIINFER_API_KEY": "three"})
    assert server.get("/v1/models").status == 401
    assert server.get("/v1/models", headers={"Authorization": "Bearer three"}).status == 200


def test_host_names(start):
    server = start("--allowed-hosts", "models.example.com,other.example")
    for host, status in (("localhost", 200), ("127.0.0.1:1234", 200), ("[::1]:8000", 200), ("models.example.com:443", 200),
                         ("MODELS.example.com", 200), ("other.example", 200), ("evil.example", 403), ("127.0.0.1.evil.example", 403),
                         ("localhost.evil.example:8000", 403), ("", 403), ("[::2]", 403),
                         ("localhost:80@evil.example", 403), ("[::1]evil", 403), ("localhost:", 200)):
        assert server.get("/v1/models", headers={"Host": host}).status == status, host


    for target, status in (("http://localhost/v1/models", 200), ("http://evil.example/v1/models", 403)):
        reply = server.raw(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert reply.startswith(f"HTTP/1.1 {status} ".encode())


def test_cross_origin(start):
    server = start()
    for method in ("GET", "OPTIONS"):
        reply = server.request(method, "/v1/models", headers={"Origin": "https://app.example"})
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    server = start("--allowed-origins", '["https://app.example"]', "--api-key", "k")
    reply = server.request("OPTIONS", "/v1/chat/completions", headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
    assert reply.status == 204 and reply.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
    reply = server.get("/v1/models", headers={"Origin": "https://app.example", "Authorization": "Bearer k"})
    assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example" and reply.headers["Vary"] == "Origin"
    for origin in ("https://app.example.evil", "http://app.example", "null"):
        reply = server.get("/v1/models", headers={"Origin": origin, "Authorization": "Bearer k"})
        assert "Access-Control-Allow-Origin" not in reply.headers
    server = start("--allowed-origins", "*")
    assert server.get("/v1/models", headers={"Origin": "http://x"}).headers["Access-Control-Allow-Origin"] == "*"


def test_one_key_cannot_take_all_places(start):
    import threading

    server = start("--api-key", "greedy", "--api-key", "modest", "--max-num-reqs-per-key", 2)
    headers = {"Authorization": "Bearer greedy"}
    replies = []

    def long():
        replies.append(server.chat(max_tokens=2000, ignore_eos=True, headers=headers).status)

    threads = [threading.Thread(target=long) for _ in range(2)]
    for thread in threads:
        thread.start()
    server.wait_for(lambda metrics: metrics["vllm:num_requests_running"] == 2, headers=headers)
    refused = None
    for _ in range(1000):
        reply = server.chat(max_tokens=1, headers=headers)
        if reply.status == 429:
            refused = reply
            break
    assert refused is not None and refused.headers["Retry-After"] and refused.error["type"] == "rate_limit_error"
    assert server.chat(max_tokens=1, headers={"Authorization": "Bearer modest"}).status == 200
    for thread in threads:
        thread.join()
    assert replies == [200, 200] and server.chat(max_tokens=1, headers=headers).status == 200


@pytest.mark.parametrize("flags, words", [
    (["--port", "0"], "port"), (["--port", "70000"], "port"), (["--port", "x"], "port"),
    (["--host", "0.0.0.0"], "--api-key"), (["--host", "::"], "--api-key"), (["--host", "127.0.0.1.example.invalid"], "--api-key"), (["--host", "no.such.host.invalid"], "host"),
    (["--host", "203.0.113.1", "--allow-unauthenticated"], "host"), (["--no-such-flag"], "no-such-flag"),
    (["--max-num-seqs", "4", "--max-num-seqs", "5"], "max-num-seqs"), (["/no/such/model"], "model"),
    (["--model", "a", "b"], "twice"), (["--api-key", ""], "api-key"), (["--api-key-file", "/no/such/file"], "api-key-file"),
    (["--ssl-certfile", "/no/such/file"], "ssl-keyfile"), (["--ssl-certfile", "/no/a", "--ssl-keyfile", "/no/b"], "/no/a"),
    (["--max-model-len", "999999999"], "max_model_len"), (["--tool-call-parser", "klingon"], "tool-call-parser"),
    (["--allowed-origins", "[1]"], "allowed-origins"), (["--max-num-queued-reqs", "0"], "max-num-queued-reqs"),
    (["--request-timeout", "nan"], "request-timeout"), (["--log-format", "xml"], "log-format"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_refused_at_start(miniinfer, flags, words):
    done = subprocess.run([miniinfer, "serve", *flags], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: ") and words in done.stderr


def test_a_key_that_is_not_the_certificates(miniinfer, tmp_path):
    for name, kind in (("a", "rsa:2048"), ("b", "rsa:2048"), ("c", "ed25519")):
        made = subprocess.run(["openssl", "req", "-x509", "-newkey", kind, "-nodes", "-keyout", tmp_path / f"{name}.key", "-out",
                               tmp_path / f"{name}.pem", "-days", "2", "-subj", "/CN=x"], capture_output=True)
        if made.returncode != 0:
            pytest.skip("no openssl here")
    for other in ("b", "c"):
        done = subprocess.run([miniinfer, "serve", "--ssl-certfile", tmp_path / "a.pem", "--ssl-keyfile", tmp_path / f"{other}.key"],
                              capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and done.stderr.startswith("error: --ssl-keyfile: "), done.stderr


def test_port_in_use(start, miniinfer):
    server = start()
    done = subprocess.run([miniinfer, "serve", "--port", str(server.port)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and done.stderr == f"error: --port: {server.port} is in use\n"


def test_heads_that_come_before_all_bodies_do_not_pass_the_limit_of_a_key(start):
    server = start("--api-key", "greedy", "--max-num-reqs-per-key", 2)
    body = json.dumps({"prompt": "a", "max_tokens": 1900, "ignore_eos": True, "n": 8}).encode()
    head = (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer greedy\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body))
    socks = [socket.create_connection((HOST, server.port), 60) for _ in range(8)]
    for sock in socks:
        sock.sendall(head)
    time.sleep(0.3)
    for sock in socks:
        sock.sendall(body)
    statuses = [int(sock.recv(100).split()[1]) for sock in socks]
    assert set(statuses) == {200, 429} and statuses.count(200) == 2, statuses
    for sock in socks:
        sock.close()
