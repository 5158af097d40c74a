"""/metrics against what a client counted, and the log."""

import concurrent.futures
import json
import os
import random

import pytest

REQUESTS = int(os.environ.get("MINIINFER_METRIC_REQUESTS", "2000"))
NAMES = """num_requests_running num_requests_waiting kv_cache_usage_perc prefix_cache_queries prefix_cache_hits
num_preemptions_total prompt_tokens_total generation_tokens_total request_success_total time_to_first_token_seconds
inter_token_latency_seconds e2e_request_latency_seconds request_queue_time_seconds request_prefill_time_seconds
request_decode_time_seconds iteration_tokens_total cache_config_info""".split()


def test_names_and_format(server):
    server.chat()
    text = server.get("/metrics").text
    assert server.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for name in NAMES:
        assert f"# TYPE vllm:{name} " in text and f"# HELP vllm:{name} " in text, name
    for line in text.splitlines():
        assert line.startswith("#") or 'model_name="tiny-assistant",engine="0"' in line
    samples = server.metrics()
    for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "iteration_tokens_total"):
        buckets = [value for key, value in samples.items() if key.startswith(f"vllm:{name}_bucket")]
        assert buckets == sorted(buckets) and buckets[-1] == samples[f"vllm:{name}_count"] > 0


def test_totals_are_what_clients_counted(start):
    """Stop strings, lengths, several choices, streams, refusals: the sums of usage are the server's totals."""
    server = start("--max-num-seqs", 32)
    seed = random.randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    words = "the cat and 3 dogs were in Paris when rain fell on all of them".split()

    def body(rng):
        fields = {"seed": rng.randrange(1000), "temperature": rng.choice([0, 1, 1.7]), "max_tokens": rng.choice([1, 5, 20])}
        if rng.random() < 0.4:
            fields["stop"] = rng.sample([" ", "a", "e", "the", ".", " is"], 2)
        if rng.random() < 0.2:
            fields["n"] = rng.choice([2, 3])
        if rng.random() < 0.5:
            fields["stream"] = True
            fields["stream_options"] = {"include_usage": True}
        if rng.random() < 0.05:
            fields["temperature"] = -1
        return fields

    def client(seed):
        rng = random.Random(seed)
        counts = {"requests": 0, "prompt": 0, "generated": 0, "refused": 0, "length": 0}
        connection = server.connect()
        for _ in range(REQUESTS // 16):
            fields = body(rng)
            text = " ".join(rng.choices(words, k=rng.randint(1, 30)))
            if rng.random() < 0.5:
                path, fields = "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields}
            else:
                path, fields = "/v1/completions", {"prompt": text, **fields}
            connection.request("POST", path, json.dumps(fields), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            data = reply.read().decode()
            counts["requests"] += 1
            if reply.status != 200:
                counts["refused"] += 1
                continue
            events = [json.loads(event[6:]) for event in data.split("\n\n")[:-2]] if fields.get("stream") else [json.loads(data)]
            usage = events[-1]["usage"]
            counts["prompt"] += usage["prompt_tokens"]
            counts["generated"] += usage["completion_tokens"]
        connection.close()
        return counts

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = list(pool.map(client, [rng.randrange(1 << 30) for _ in range(16)]))
    total = {name: sum(result[name] for result in results) for name in results[0]}
    metrics = server.metrics()
    success = {reason: metrics[f'vllm:request_success_total{{finished_reason="{reason}"}}']
               for reason in ("stop", "length", "abort", "error")}
    assert total["requests"] == REQUESTS // 16 * 16 and total["refused"] > 0
    assert metrics["vllm:prompt_tokens_total"] == total["prompt"]
    assert metrics["vllm:generation_tokens_total"] == total["generated"]
    assert success["stop"] + success["length"] == total["requests"] - total["refused"]
    assert success["error"] == total["refused"] and success["abort"] == 0
    assert metrics["vllm:e2e_request_latency_seconds_count"] == total["requests"]
    assert metrics["vllm:time_to_first_token_seconds_count"] == total["requests"] - total["refused"]
    assert metrics["vllm:num_requests_running"] == metrics["vllm:num_requests_waiting"] == 0


@pytest.mark.parametrize("json_lines", [True, False])
def test_one_line_a_request(start, json_lines):
    server = start("--log-format", "json" if json_lines else "text")
    server.chat("A secret, please.", headers={"X-Request-Id": "id-1"}, user="somebody\n else")
    server.get("/nothing", headers={"X-Request-Id": "id-2"})
    server.chat(temperature=-1, headers={"X-Request-Id": "id-3"})
    server.signal()
    assert server.wait() == 0
    lines = [line for line in server.lines() if "id-" in line]
    assert len(lines) == 3 and "secret" not in "".join(server.lines())
    if json_lines:
        first, second, third = map(json.loads, lines)
        assert first["id"] == "id-1" and first["status"] == 200 and first["method"] == "POST" and first["completion_tokens"] > 0
        assert 0 <= first["queue_s"] <= first["first_token_s"] <= first["seconds"] and first["finish_reason"] in ("stop", "length")
        assert (second["status"], second["path"]) == (404, "/nothing")
        assert third["status"] == 400 and "temperature" in third["error"]
    else:
        assert " info request id=id-1 " in lines[0] and " status=200 " in lines[0]


def test_prompts_are_logged_when_asked(start):
    server = start("--enable-log-requests", "--log-format", "json")
    server.chat("Tell me more.")
    server.signal()
    server.wait()
    (line,) = [json.loads(line) for line in server.lines() if "Tell me more." in line]
    assert json.loads(line["request"])["messages"][0]["content"] == "Tell me more."
