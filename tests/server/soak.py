"""A mixed load for minutes; memory must be flat after the first quarter: python tests/server/soak.py BINARY SECONDS"""

import json
import random
import re
import socket
import sys
import threading
import time

from running_server import HOST, RunningServer

CLIENTS = 32
MOST_GROWTH_MIB = 8


def resident_mib(server):
    text = open(f"/proc/{server.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def constraint(rng):
    """Fields of a request whose answer must obey a grammar, and whether a whole answer does. Most grammars are new ones."""
    limit = rng.randint(1, 9)
    kind = rng.choice(["schema", "regex", "choice", "grammar", "tool"])
    if kind == "schema":
        name = f"p{rng.randrange(200)}"
        schema = {"type": "object", "properties": {name: {"type": "integer", "maximum": limit}}, "required": [name]}
        format = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        return {"response_format": format}, lambda message: json.loads(message["content"])[name] <= limit
    if kind == "tool":
        parameters = {"type": "object", "properties": {"x": {"type": "integer", "maximum": limit}}, "required": ["x"]}
        tool = {"type": "function", "function": {"name": f"f{limit}", "parameters": parameters}}
        return {"tools": [tool], "tool_choice": "required"}, lambda message: all(
            json.loads(call["function"]["arguments"])["x"] <= limit for call in message["tool_calls"])
    if kind == "choice":
        words = [f"word {rng.randrange(100)}" for _ in range(limit)]
        return {"structured_outputs": {"choice": words}}, lambda message: message["content"] in words
    pattern = f"[a-z]{{1,{limit}}} ?[0-9]+"
    text = pattern if kind == "regex" else f"start: /{pattern}/"
    return {"structured_outputs": {kind: text}}, lambda message: re.fullmatch(pattern, message["content"])


def abandon(server, rng, path, body):
    """Sends a request, reads nothing and goes away within 0.2 s."""
    data = json.dumps(body)
    with socket.create_connection((HOST, server.port)) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n{data}".encode())
        time.sleep(rng.uniform(0, 0.2))
    return True


def constrained(server, rng, text, fields):
    constraints, holds = constraint(rng)
    reply = server.chat(text, **{**fields, **constraints}, timeout=120)
    return reply.status == 200 and all(
        choice["finish_reason"] == "length" or holds(choice["message"]) for choice in reply.json["choices"])


def request(server, rng):
    """One request and whether its reply was right: whole, streamed, abandoned, refused, constrained, long or plain text."""
    kind = rng.choice(["chat", "chat", "stream", "stream", "abandon", "bad", "constrained", "constrained", "constrained stream",
                       "constrained abandon", "long", "n", "tokenize"])
    text = " ".join(rng.choices("the cat sat on a mat in Paris and ate 3 fish".split(), k=rng.randint(1, 60)))
    fields = {"seed": rng.randrange(1000), "max_tokens": rng.randint(1, 150), "temperature": 1}
    if kind == "tokenize":
        return server.post("/tokenize", {"prompt": text}).status == 200
    if kind == "bad":
        return server.chat(text, temperature=-1).status == 400
    if kind == "constrained":
        return constrained(server, rng, text, {**fields, "n": rng.choice([1, 1, 3])})
    if kind == "abandon":
        return abandon(server, rng, "/v1/completions", {"prompt": text, "stream": rng.random() < 0.5, "max_tokens": 500,
                                                        "ignore_eos": True})
    if kind == "constrained abandon":
        return abandon(server, rng, "/v1/completions", {"prompt": text, "stream": rng.random() < 0.5, "max_tokens": 500,
                                                        "structured_outputs": {"regex": f"[a-z ]{{{rng.randint(300, 400)}}}"}})
    if kind == "long":
        text *= 6
    if kind == "n":
        fields["n"] = 4
    if kind.endswith("stream"):
        fields["stream"] = True
    if kind == "constrained stream":
        fields.update(constraint(rng)[0])
    return server.chat(text, **fields, timeout=120).status == 200


def soak(server, seconds):
    end = time.monotonic() + seconds
    wrong, counts = [], [0] * CLIENTS

    def client(number):
        rng = random.Random(number)
        while time.monotonic() < end and not wrong:
            try:
                if not request(server, rng):
                    wrong.append("a reply of another status")
            except Exception as error:  # told by the main thread
                wrong.append(repr(error))
            counts[number] += 1

    threads = [threading.Thread(target=client, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    samples = []
    while time.monotonic() < end and not wrong:
        time.sleep(min(seconds / 40, 5))
        samples.append(resident_mib(server))
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    settled = samples[len(samples) // 4:]
    growth = max(settled[len(settled) // 2:]) - max(settled[:len(settled) // 2])
    print(f"{sum(counts)} requests in {seconds:.0f} s; resident MiB {samples[0]:.1f} at first, {settled[0]:.1f} to {settled[-1]:.1f}")
    assert server.sanitized or growth < MOST_GROWTH_MIB, samples
    server.wait_for(lambda m: m["vllm:num_requests_running"] == m["vllm:kv_cache_usage_perc"] == 0)


if __name__ == "__main__":
    server = RunningServer(sys.argv[1])
    try:
        soak(server, float(sys.argv[2]))
        server.signal()
        code = server.wait()  # a sanitizer's finding is another one than 0
        assert code == 0, "\n".join([f"exit {code}"] + [line for line in server.lines() if " info " not in line][:200])
    finally:
        server.stop()
