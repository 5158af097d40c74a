"""An OpenAI-compatible server whose answers and faults are chosen by the question: what a real model cannot be asked for."""

import contextlib
import http.server
import json
import pathlib
import threading
import time

DIST = pathlib.Path(__file__).resolve().parents[1] / "dist"
HOSTILE = """Before <script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">
<svg onload="window.hacked = 3"></svg> [link](javascript:window.hacked=4) [good](https://example.org/) ![pixel](https://example.org/p.png)

<style>body { display: none }</style><iframe srcdoc="<script>parent.hacked = 5</script>"></iframe>
<form action="/v1/models"><button>press</button></form> **after**
"""
CODE = "Some code:\n\n```python\ndef f(x):\n    return 'a' + x  # note\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- one\n- two"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def reply(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def fail(self, status, message, headers=()):
        self.reply(status, {"error": {"message": message, "type": "error", "param": None, "code": None}}, headers=headers)

    def authorized(self):
        key = self.server.api_key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self.fail(401, "no key")
        return False

    def do_GET(self):
        if self.path == "/":
            policy = (DIST / "content-security-policy.txt").read_text().strip()
            page = (DIST / "index.html").read_bytes()
            return self.reply(200, page, "text/html; charset=utf-8", [("Content-Security-Policy", policy)])
        if not self.authorized():
            return None
        if self.path == "/v1/models":
            return self.reply(200, {"object": "list", "data": [{"id": "mock", "object": "model", "max_model_len": 2048}]})
        if self.path == "/metrics":
            return self.reply(200, self.server.metrics().encode(), "text/plain; version=0.0.4")
        return self.fail(404, "no such page")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.authorized():
            return None
        self.server.requests.append(body)
        question = body["messages"][-1]["content"]
        if question == "full":
            return self.fail(503, "The queue is full.", [("Retry-After", "7")])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.stream(question, body)
        self.close_connection = True
        return None

    def event(self, value):
        text = value if isinstance(value, str) else json.dumps(value)
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def piece(self, finish=None, **delta):
        self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def stream(self, question, body):
        self.piece(role="assistant", content="")
        words = self.answer(question)
        for i, word in enumerate(words):
            if question == "slow":
                time.sleep(0.05)
            self.piece(content=word)
            if question == "break" and i == 2:
                return self.event({"error": {"message": "The model failed.", "type": "internal", "code": None}})
            if question == "cut" and i == 2:
                return None
        self.piece(finish="stop")
        if body.get("stream_options", {}).get("include_usage"):
            self.event({"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": len(words), "total_tokens": 12 + len(words)}})
        return self.event("[DONE]")

    def answer(self, question):
        if question == "slow":
            return [f"word{i} " for i in range(400)]
        if question == "html":
            return [HOSTILE[i : i + 7] for i in range(0, len(HOSTILE), 7)]
        if question == "code":
            return [CODE[i : i + 5] for i in range(0, len(CODE), 5)]
        return ["Answer", f" {len(self.server.requests)}", " to", " ", question]


class MockServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api_key=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.api_key = api_key
        self.requests = []
        self.started = time.monotonic()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def metrics(self):
        """Half the cache in use, three requests running on two engines, 1,000 tokens a second."""
        tokens = int(1000 * (time.monotonic() - self.started))
        return f"""# HELP vllm:num_requests_running Requests in a step.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="mock"}} 2
vllm:num_requests_running{{engine="1",model_name="mock"}} 1
vllm:num_requests_waiting{{engine="0",model_name="mock"}} 4
vllm:kv_cache_usage_perc{{engine="0",model_name="mock"}} 0.5
vllm:generation_tokens_total{{engine="0",model_name="mock"}} {tokens}
vllm:prompt_tokens_total{{engine="0",model_name="mock"}} 77
vllm:prefix_cache_hits{{engine="0",model_name="mock"}} 33
vllm:prefix_cache_hits_total{{engine="0",model_name="mock"}} 33
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="mock"}} 5
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.01",model_name="mock"}} {tokens // 2}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="0.02",model_name="mock"}} {tokens}
vllm:time_to_first_token_seconds_bucket{{engine="0",le="+Inf",model_name="mock"}} {tokens}
"""
