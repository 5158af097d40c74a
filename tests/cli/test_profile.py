"""`bench latency|throughput --profile`: the tables and the trace."""

import json

import pytest

LATENCY = ["bench", "latency", "--shape", "tiny", "--device", "cpu", "--input-len", 48, "--output-len", 9,
           "--num-iters", 2, "--num-iters-warmup", 1, "--profile"]


@pytest.fixture(scope="module")
def profiled(cli, tmp_path_factory):
    trace = tmp_path_factory.mktemp("profile") / "trace.json"
    result = cli(*LATENCY, "--profile-trace", trace, "--output-json", "-")
    assert result.code == 0, result.err
    return json.loads(result.out)["profile"], json.loads(trace.read_text())["traceEvents"]


def complete(events, pid, tid):
    return sorted((e for e in events if e["ph"] == "X" and e["pid"] == pid and e["tid"] == tid),
                  key=lambda e: (e["ts"], -e["dur"]))


def parents(events):
    """Each event with the innermost one around it; fails where two overlap without one holding the other."""
    slack = 0.0015  # us: times are written with three digits
    stack, result = [], []
    for event in events:
        while stack and stack[-1]["ts"] + stack[-1]["dur"] <= event["ts"] + slack:
            stack.pop()
        if stack:
            assert event["ts"] + event["dur"] <= stack[-1]["ts"] + stack[-1]["dur"] + slack, (stack[-1], event)
        result.append((event, stack[-1] if stack else None))
        stack.append(event)
    return result


def test_every_call_of_an_operator_is_counted(profiled):
    profile, _ = profiled
    prefill, decode = profile["by_operator"]
    assert (prefill["kind"], decode["kind"]) == ("prefill", "decode")
    assert (prefill["steps"], decode["steps"]) == (1, 8)
    for table in prefill, decode:
        calls = {(row["op"], row["detail"]): row["calls"] for row in table["operators"]}
        # The layers of the tiny shape: q, k and v in one group; output; gate and up; down; and one head.
        assert calls[("linear", "512 x 256")] == 6
        assert calls[("linear", "256 x 256")] == 6
        assert calls[("linear", "1536 x 256")] == 6
        assert calls[("linear", "256 x 768")] == 6
        assert calls[("linear", "4096 x 256")] == 1
        assert calls[("attention", "4/2 heads x 64")] == 6
        assert calls[("rms_norm", "256")] == 13
        assert calls[("embedding", "256")] == 1
        assert calls[("sample_tokens", "4096")] == 1
        assert [row["layer"] for row in table["layers"]] == [0, 1, 2, 3, 4, 5, None]


def test_bytes_and_flops_are_those_of_the_work(profiled):
    profile, _ = profiled
    for table, rows in zip(profile["by_operator"], (48, 1)):
        ops = {(row["op"], row["detail"]): row for row in table["operators"]}
        head = ops[("linear", "4096 x 256")]
        assert head["call_flops"] == 2 * 4096 * 256
        assert head["call_bytes"] == 2 * (4096 * 256 + 256) + 4 * 4096
        qkv = ops[("linear", "512 x 256")]
        assert qkv["call_flops"] == 2 * rows * 512 * 256
        for row in table["operators"]:
            assert row["step_us"] == pytest.approx(row["calls"] * row["call_us"])
            seconds = row["call_us"] * 1e-6
            memory = 100 * row["call_bytes"] / seconds / 1e9 / profile["limit_gbytes_per_s"]
            assert row["percent_of_memory"] == pytest.approx(memory)
            assert row["limited_by"] == ("memory" if row["percent_of_memory"] >= row["percent_of_compute"] else "compute")


def test_the_tables_add_up(profiled):
    profile, _ = profiled
    for table in profile["by_operator"]:
        operators = sum(row["step_us"] for row in table["operators"])
        layers = sum(us for row in table["layers"] for key, us in row.items() if key != "layer")
        assert operators == pytest.approx(table["operators_us"]) == pytest.approx(layers)
        assert table["operators_us"] < table["step_us"]
        assert table["calls"] == sum(row["calls"] for row in table["operators"])
        (as_it_runs,) = (row["step_us"] for row in profile["steps"] if row["kind"] == table["kind"])
        assert table["as_it_runs_us"] == pytest.approx(as_it_runs)
    for row in profile["steps"]:
        assert row["count"] == {"prefill": 1, "decode": 8}[row["kind"]]
        assert row["sequences"] == 1
        assert sum(row["host_us"].values()) == pytest.approx(row["host_turn_us"])
        assert {"plan", "layout", "run", "sample", "commit", "emit"} <= set(row["host_us"])
        assert row["gap_us"] >= 0
        # On a CPU a step is the model and the sampling, and the gap is what else a turn does.
        assert row["step_us"] < row["host_turn_us"] + 1


def test_the_trace_nests_and_sums_to_the_tables(profiled):
    profile, events = profiled
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert names[(1, 1)] == "engine" and len(names) == 4
    for pid in 1, 2:
        for event, parent in parents(complete(events, pid, 1)):
            assert (parent is None) == (event["name"] == "step")
    steps = complete(events, 1, 2)
    assert [e["name"] for e in steps] == ["prefill"] + ["decode"] * 8
    # An operator lies in a part; a part in a layer, or outside of the layers in a step; a layer in a step.
    totals = {}
    for event, parent in parents(complete(events, 2, 2)):
        if event["name"] in ("prefill", "decode"):
            assert parent is None
            kind = event["name"]
        elif "bytes" in event["args"]:
            assert parent["name"] in ("embedding", "norm", "attention", "mlp", "head", "sampling")
            assert parent["args"].get("layer") == event["args"].get("layer")
            totals[kind] = totals.get(kind, 0) + event["dur"]
        elif event["name"].startswith("layer "):
            assert parent["name"] in ("prefill", "decode")
        elif "layer" in event["args"]:
            assert parent["name"] == f"layer {event['args']['layer']}"
    for table in profile["by_operator"]:
        assert totals[table["kind"]] == pytest.approx(table["operators_us"] * table["steps"], rel=1e-3)
    first_of_second = min(e["ts"] for e in events if e["ph"] == "X" and e["pid"] == 2)
    assert first_of_second >= max(e["ts"] + e["dur"] for e in events if e["ph"] == "X" and e["pid"] == 1)


def test_the_table_is_for_people(cli):
    result = cli(*LATENCY)
    assert result.code == 0, result.err
    for words in ["limits measured before: read", "gap before", "decode by operator: 8 steps", "attention", "4/2 heads x 64",
                  "decode by layer", "limited by", "outside"]:
        assert words in result.out, words


def test_a_workload_is_profiled_too(cli, tmp_path):
    trace = tmp_path / "trace.json"
    result = cli("bench", "throughput", "--shape", "tiny", "--device", "cpu", "--num-prompts", 6, "--input-len", "5:40",
                 "--output-len", "3:9", "--profile", "--profile-trace", trace, "--output-json", "-")
    assert result.code == 0, result.err
    figures = json.loads(result.out)
    sampled = sum(row["calls"] * table["steps"] for table in figures["profile"]["by_operator"]
                  for row in table["operators"] if row["op"] == "sample_tokens")
    assert sampled == sum(table["steps"] for table in figures["profile"]["by_operator"])
    assert json.loads(trace.read_text())["traceEvents"]


def test_ranges_for_nvidias_tools_need_no_gpu(cli):
    built = json.loads(cli("doctor", "--json").out)["gpu"]["built"]
    result = cli("bench", "latency", "--shape", "tiny", "--device", "cpu", "--output-len", 3, "--num-iters", 1, "--nvtx")
    assert result.code == (0 if built else 1), result.err
    assert built or "built without CUDA" in result.err


def test_flags_that_would_do_nothing_are_refused(cli, tmp_path):
    result = cli("bench", "latency", "--shape", "tiny", "--profile-trace", tmp_path / "t.json")
    assert result.code == 2 and "--profile" in result.err
    result = cli("bench", "latency", "--shape", "tiny", "--profile", "--profile-trace", tmp_path / "no" / "t.json")
    assert result.code == 2 and "cannot be written" in result.err
