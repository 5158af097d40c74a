"""Mutated request bodies against a running server, with a canary: fuzz_bodies.py BINARY SECONDS [SEED [FLAG of serve ...]]

Every body must be answered with 200 or 4xx in bounded time, and the canary's answer must stay what it was.
"""

import http.client
import json
import random
import sys
import time

from running_server import HOST, RunningServer

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
SEEDS = [
    ("/v1/chat/completions", {"model": "tiny-assistant", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hi é🥞"}]}],
        "max_tokens": 4, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 3, "n": 2, "stop": ["x", "yy"], "logprobs": True,
        "top_logprobs": 2, "logit_bias": {"5": 1.5}, "stream": True, "stream_options": {"include_usage": True}}),
    ("/v1/chat/completions", {"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "y"}], "tools": [TOOL], "tool_choice": "auto", "max_tokens": 4}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 4, "tools": [TOOL],
                              "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "response_format": {
        "type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"enum": [1, "b"]}}}}}}),
    ("/v1/completions", {"prompt": ["ab", "cd"], "max_tokens": 3, "echo": True, "logprobs": 1, "min_tokens": 1,
                         "structured_outputs": {"regex": "[a-z]+"}, "ignore_eos": True, "bad_words": ["foo"]}),
    ("/v1/completions", {"prompt": [[5, 6, 7], [8]], "max_tokens": 3, "prompt_logprobs": 1, "repetition_penalty": 1.1,
                         "presence_penalty": 1, "frequency_penalty": -1, "cache_salt": "s", "priority": 1, "min_p": 0.1}),
    ("/tokenize", {"prompt": "some text", "add_special_tokens": True, "return_token_strs": True}),
    ("/tokenize", {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": [1, {"b": None}]}}),
    ("/detokenize", {"tokens": [1, 2, 3, 300]}),
]
VALUES = [None, True, False, 0, -1, 1, 2, 16, 1e-5, -0.0, 1.5, 1e300, -1e300, 2**31, 2**63, 2**64, -2**63, "", "a", "\u0000", "\ud800",
          "é🥞" * 50, "<|im_end|>", "{}", "[" * 70, [], {}, [[]], [[1]], {"type": "text"}, "x" * 5000, list(range(300))]


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i in range(len(value)):
            yield from places(value[i], (*path, i))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def mutate(rng):
    path, body = rng.choice(SEEDS)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        place = rng.choice(list(places(body)))
        body = replaced(body, place, rng.choice(VALUES))
    if isinstance(body, dict) and rng.random() < 0.2:
        body = {**body, rng.choice(["n", "stop", "tools", "x", "prompt", "messages", "suffix"]): rng.choice(VALUES)}
    data = bytearray(json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(len(data) + 1)
            action = rng.random()
            if action < 0.5 and at < len(data):
                data[at] = rng.randrange(256)
            elif action < 0.7:
                del data[at: at + rng.randrange(1, 20)]
            else:
                data[at:at] = rng.choice([b'"', b"{", b"[", b"}", b"\\u", b"\xff", b"1e999", b",", b"\x00", bytes(data[:50])])
    return path, bytes(data)


def fuzz(server, seconds, seed, canary_every=1000):
    """The number of bodies that were answered. Raises AssertionError with the body at fault."""
    rng = random.Random(seed)
    canary = server.chat(temperature=0).json["choices"]
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30 * server.patience)
    count, slowest, end = 0, 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        path, body = mutate(rng)
        begin = time.monotonic()
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            data = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"seed {seed}: {error!r} for {path} {body!r}") from error
        slowest = max(slowest, time.monotonic() - begin)
        assert reply.status in (200, 400, 404), f"seed {seed}: {reply.status} {data!r} for {path} {body!r}"
        assert reply.status == 200 or json.loads(data)["error"]["message"], f"seed {seed}: {path} {body!r}"
        count += 1
        if count % canary_every == 0:
            assert server.chat(temperature=0).json["choices"] == canary, f"seed {seed}: the canary after {count} bodies"
    assert server.chat(temperature=0).json["choices"] == canary, f"seed {seed}: the canary"
    print(f"{count} bodies, the slowest took {slowest:.3f} s")
    return count


if __name__ == "__main__":
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 30)
    print("seed", seed)
    server = RunningServer(sys.argv[1], *sys.argv[4:])
    try:
        fuzz(server, float(sys.argv[2]), seed)
    finally:
        print("\n".join(line for line in server.lines() if " error " in line and "status=" not in line))
        server.stop()
