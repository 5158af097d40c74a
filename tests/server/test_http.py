"""HTTP/1.1 as such: framing, limits, and what a hostile or broken client sends."""

import http.client
import json
import shutil
import socket
import subprocess
import time

import pytest
from running_server import HOST

BODY = json.dumps({"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}).encode()
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def status_of(data):
    assert data.startswith(b"HTTP/1.1 "), data[:100]
    return int(data.split(b" ", 2)[1])


def length(body):
    return b"Content-Length: %d\r\n\r\n" % len(body)


def test_keep_alive(server):
    connection = server.connect()
    for _ in range(20):
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 200 and json.loads(reply.read())["choices"]
        socket_used = connection.sock
        connection.request("GET", "/health")
        assert connection.getresponse().read() and connection.sock is socket_used
    connection.close()


def test_pipelined_requests_are_answered_in_order(server):
    stream = BODY[:-1] + b', "stream": true}'
    requests = b""
    for i in range(10):
        body = stream if i % 2 else BODY
        requests += POST + b"X-Request-Id: r%d\r\n" % i + length(body) + body
    requests += b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for cut in (len(requests), 1000, 7):
        with socket.create_connection((HOST, server.port), 10) as sock:
            for begin in range(0, len(requests), cut):
                sock.sendall(requests[begin: begin + cut])
            data = b""
            while piece := sock.recv(65536):
                data += piece
        assert data.count(b"HTTP/1.1 200 OK") == 11
        places = [data.index(b"X-Request-Id: r%d\r\n" % i) for i in range(10)]
        assert places == sorted(places) and data.count(b"data: [DONE]") == 5
        assert data.endswith(b'{"status":"ok"}')


def test_chunked_bodies(server):
    for size in (1, 10, 1000):
        chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(BODY[i: i + size]), BODY[i: i + size]) for i in range(0, len(BODY), size))
        reply = server.raw(POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n")
        assert status_of(reply) == 200 and b"Paris" in reply


def test_expect_continue(server):
    with socket.create_connection((HOST, server.port), 10) as sock:
        sock.sendall(POST + b"Expect: 100-continue\r\nConnection: close\r\n" + length(BODY))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(BODY)
        assert b"Paris" in http_read(sock)


def test_a_refusal_of_nothing_leaves_the_connection_usable(server):
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    reply = server.raw(head * 2 + b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert [status_of(b"HTTP/1.1 " + part) for part in reply.split(b"HTTP/1.1 ")[1:]] == [404, 404, 200]


def http_read(sock):
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def test_http_1_0(server):
    reply = server.raw(b"GET /health HTTP/1.0\r\n\r\n")
    assert reply.startswith(b"HTTP/1.0 200") and b"Transfer-Encoding" not in reply
    stream = BODY[:-1] + b', "stream": true}'
    reply = server.raw(POST.replace(b"HTTP/1.1", b"HTTP/1.0") + length(stream) + stream)
    assert b"Transfer-Encoding" not in reply and reply.endswith(b"data: [DONE]\n\n")


def test_head(server):
    for path in ("/health", "/v1/models", "/"):
        reply = server.request("HEAD", path)
        assert reply.status == 200 and reply.body == b"" and int(reply.headers["Content-Length"]) > 0


@pytest.mark.parametrize("head, status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    (b"nonsense\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100 + b"\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nBad Name: x\r\n\r\n", 400),
    (b"GET /\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    (POST + b"Content-Length: -1\r\n\r\n", 400),
    (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nxx\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nxx\r\n", 400),
    (POST + b"Transfer-Encoding: gzip\r\n\r\nxx", 501),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    (POST + b"Expect: tea\r\nContent-Length: 0\r\n\r\n", 417),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 101 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (8 << 20), 431),
    (POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    (POST + b"Content-Length: %d\r\n\r\n" % ((8 << 20) + 1), 413),
    (POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"100000\r\n" + b"x" * (1 << 20) + b"\r\n") * 9 + b"0\r\n\r\n", 413),
], ids=lambda value: value if isinstance(value, int) else repr(value[:60]))
def test_refused_and_closed(server, head, status):
    reply = server.raw(head)
    assert status_of(reply) == status
    assert b"Connection: close" in reply and reply.count(b"HTTP/1.1") == 1
    assert set(json.loads(reply.split(b"\r\n\r\n", 1)[1])["error"]) == {"message", "type", "param", "code"}


def test_request_ids(server):
    assert server.get("/health", headers={"X-Request-Id": "abc-1.2_3:4"}).headers["X-Request-Id"] == "abc-1.2_3:4"
    assert len(server.get("/health").headers["X-Request-Id"]) == 32
    for bad in ("a b", "a\tb", "x" * 129, "", "ä"):
        reply = server.get("/health", headers={"X-Request-Id": bad.encode("latin-1")})
        assert reply.status == 400 and reply.headers["X-Request-Id"] != bad
    smuggled = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\n Set-Cookie: x=1\r\nConnection: close\r\n\r\n")
    assert status_of(smuggled) == 400 and b"Set-Cookie" not in smuggled
    reply = server.chat(headers={"X-Request-Id": "mine"})
    assert reply.json["id"] == "chatcmpl-mine"


def test_slow_clients_get_408(start):
    server = start("--header-timeout", 0.5, "--body-timeout", 0.5, "--idle-timeout", 0.7)
    with socket.create_connection((HOST, server.port), 10) as sock:
        begin = time.monotonic()
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaa":
                sock.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass
        assert status_of(http_read(sock)) == 408 and time.monotonic() - begin < 2.5
    assert status_of(server.raw(POST + b"Content-Length: 100\r\n\r\nabc")) == 408
    assert server.raw(b"") == b"", "a silent connection is closed without a word"
    connection = server.connect()
    connection.request("GET", "/health")
    connection.getresponse().read()
    begin = time.monotonic()
    assert connection.sock.recv(10) == b"" and 0.5 < time.monotonic() - begin < 2
    assert server.get("/health").status == 200


def test_the_page(server):
    reply = server.get("/")
    assert reply.status == 200 and reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"] and b"<html" in reply.body


def test_version_and_load(server):
    assert set(server.get("/version").json) == {"version"}
    assert server.get("/load").json == {"server_load": 0}
    assert server.get("/ping").status == server.get("/health").status == 200


def test_a_failed_connection_leaves_the_others(server):
    connections = [server.connect() for _ in range(50)]
    for i, connection in enumerate(connections):
        connection.request("POST", "/v1/chat/completions", BODY, {"Content-Type": "application/json"})
        if i % 3 == 0:
            connection.sock.close()
    for i, connection in enumerate(connections):
        if i % 3:
            assert b"Paris" in connection.getresponse().read()
        connection.close()


def test_client_library_of_the_standard(server):
    connection = http.client.HTTPConnection(HOST, server.port)
    connection.request("POST", "/v1/chat/completions", iter([BODY[:10], BODY[10:]]), {"Content-Type": "application/json"},
                       encode_chunked=True)
    assert b"Paris" in connection.getresponse().read()
    connection.close()


def test_curl(server, tmp_path):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")

    def run(*arguments):
        return subprocess.run([curl, "-sS", *arguments], capture_output=True, timeout=20, check=True).stdout

    url = server.url + "/v1/chat/completions"
    json_type = ["-H", "Content-Type: application/json"]
    assert b"Paris" in run(url, *json_type, "-d", BODY)
    assert run("-N", url, *json_type, "-d", BODY[:-1] + b', "stream": true}').endswith(b"data: [DONE]\n\n")
    # Large enough for curl to ask with Expect: 100-continue, and to send it in chunks.
    large = tmp_path / "large.json"
    large.write_bytes(BODY[:-1] + b" " * (2 << 20) + b"}")
    for more in ([], ["-H", "Transfer-Encoding: chunked"]):
        assert b"Paris" in run(url, *json_type, *more, "--data-binary", f"@{large}")
    large.write_bytes(b" " * (9 << 20))
    for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]):
        assert run("-o", "/dev/null", "-w", "%{http_code}", url, *json_type, *more, "--data-binary", f"@{large}") == b"413"
    assert run("-o", "/dev/null", "-w", "%{http_code}", url, "-d", BODY) == b"415"
