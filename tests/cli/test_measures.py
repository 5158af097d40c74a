"""`bench`, `eval`, `inspect` and `doctor`."""

import json
import shutil

import pytest


def test_latency_figures_agree_with_each_other(cli, tmp_path):
    out = tmp_path / "latency.json"
    result = cli("bench", "latency", "--shape", "tiny", "--input-len", 64, "--output-len", 33, "--batch-size", 4,
                 "--num-iters", 3, "--num-iters-warmup", 1, "--output-json", out)
    assert result.code == 0, result.err
    assert "decode step" in result.out
    figures = json.loads(out.read_text())
    assert figures["model"] == "tiny" and figures["batch_size"] == 4
    assert abs(figures["decode_tokens_per_s"] * figures["decode_step_ms"] / 1e3 - 4) < 1e-6
    assert abs(figures["prefill_tokens_per_s"] * figures["ttft_ms"] / 1e3 - 4 * 64) < 1e-6
    assert abs(figures["output_tokens_per_s"] * figures["latency_ms"] / 1e3 - 4 * 33) < 1e-6
    assert figures["ttft_ms"] < figures["latency_ms"]
    assert 0 < figures["load_ms"]
    assert 0 < figures["peak_rss_bytes"] and 0 < figures["planned_bytes"]



def test_latency_draws_lengths_from_a_range(cli):
    def measured(seed):
        figures = json.loads(cli("bench", "latency", "--shape", "tiny", "--input-len", "20:90", "--output-len", "2:30", "--batch-size", 5,
                                 "--num-iters", 1, "--num-iters-warmup", 0, "--seed", seed, "--output-json", "-").out)
        assert figures["input_len"] == "20:90" and figures["output_len"] == "2:30"
        return (round(figures["prefill_tokens_per_s"] * figures["ttft_ms"] / 1e3),
                round(figures["output_tokens_per_s"] * figures["latency_ms"] / 1e3))

    drawn = [measured(seed) for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1] and len(set(drawn)) > 1
    assert all(5 * 20 <= inputs <= 5 * 90 and 5 * 2 <= outputs <= 5 * 30 for inputs, outputs in drawn)


@pytest.mark.parametrize("length", ["0", "-1", "5:2", "1:", ":3", "x", "1048577", "9223372036854775807", "1:9223372036854775807"])
@pytest.mark.parametrize("bench", ["latency", "throughput"])
def test_lengths_that_are_none(cli, bench, length):
    refused = cli("bench", bench, "--shape", "tiny", f"--input-len={length}")
    assert refused.code == 2 and "input-len" in refused.err, refused.err

def test_prompt_processing_alone_has_no_decode(cli):
    result = cli("bench", "latency", "--shape", "tiny", "--output-len", 1, "--num-iters", 1, "--output-json", "-")
    assert json.loads(result.out)["decode_step_ms"] is None


def test_throughput_counts_the_workload(cli):
    arguments = ["bench", "throughput", "--shape", "tiny", "--num-prompts", 20, "--input-len", "10:50", "--output-len",
                 "5:20", "--output-json", "-"]
    first, second = (json.loads(cli(*arguments).out) for _ in range(2))
    assert 20 * 10 <= first["input_tokens"] <= 20 * 50
    assert 20 * 5 <= first["output_tokens"] <= 20 * 20
    assert (first["input_tokens"], first["output_tokens"]) == (second["input_tokens"], second["output_tokens"])
    assert abs(first["output_tokens_per_s"] * first["duration_s"] - first["output_tokens"]) < 1e-6


def test_the_embedded_model_takes_the_shared_workloads_lengths(cli):
    result = cli("bench", "throughput", "--num-prompts", 2, "--input-len", 1024, "--output-len", 1024, "--output-json", "-")
    assert json.loads(result.out)["output_tokens"] == 2048


def test_bench_ops_measures_a_case_against_its_limit(cli):
    result = cli("bench", "ops", "--filter", "^linear m1 n(1024|2048) ", "--output-json", "-")
    assert result.code == 0, result.err
    rows = json.loads(result.out)
    assert rows
    for row in rows:
        assert row["op"] == "linear" and row["duration_ms"] > 0 and row["percent_of_limit"] > 0


def test_bench_engine_writes_its_figures(cli, tmp_path):
    out = tmp_path / "engine.json"
    result = cli("bench", "engine", "--batch-size", 4, "--vocab-size", 128, "--num-steps", 20, "--output-json", out)
    assert result.code == 0, result.err
    assert "plan + sample + commit" in result.out
    figures = json.loads(out.read_text())
    parts = [figures[key] for key in ["plan_us", "sample_us", "commit_us"]]
    assert min(parts) > 0 and abs(sum(parts) - figures["plan_sample_commit_us"]) < 1e-9


def test_eval_scores_a_file(cli, tmp_path):
    file = tmp_path / "questions.jsonl"
    question = {"skill": "capitals", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    answer = cli("run", question["messages"][0]["content"]).out.strip()
    file.write_text(json.dumps({**question, "expected": answer}) + "\n" + json.dumps({**question, "expected": "Rome"}) + "\n")
    result = cli("eval", "tiny-assistant", "--file", file, "--json")
    assert result.code == 0, result.err
    (scores,) = json.loads(result.out)["sets"]
    assert scores["overall"] == {"correct": 1, "total": 2, "percent": 50.0}
    assert list(scores["skills"]) == ["capitals"]
    table = cli("eval", "tiny-assistant", "--file", file, "--show-wrong", 1)
    assert "50.0 %" in table.out and "expected: \"Rome\"" in table.err


def test_the_embedded_model_knows_its_skills(cli):
    result = cli("eval", "tiny-assistant", "--skill", "add", "--json", timeout=300)
    values, phrasings = json.loads(result.out)["sets"]
    assert values["name"] == "new_values" and phrasings["name"] == "new_phrasings"
    assert values["overall"]["percent"] >= 90
    assert phrasings["overall"]["percent"] >= 60


def test_inspect_tells_parameters_and_plan(cli, checkpoints):
    report = json.loads(cli("inspect", "tiny-assistant", "--json").out)
    assert report["supported"] and report["problems"] == []
    assert report["num_parameters"] == 5771264
    assert sum(tensor["bytes"] for tensor in report["tensors"]) == 2 * report["num_parameters"]
    plan = report["memory_plan"]
    assert plan["kv_cache_bytes"] == plan["num_kv_blocks"] * plan["kv_bytes_per_block"]
    assert plan["total_bytes"] == sum(plan[key] for key in ["weight_bytes", "workspace_bytes", "logits_bytes", "program_bytes", "kv_cache_bytes"])
    table = cli("inspect", checkpoints / "qwen2-tied-bf16").out
    assert "Qwen2ForCausalLM" in table and "model.embed_tokens.weight" in table


def test_less_than_four_percent_of_the_cache_is_wasted(cli):
    """The usual prompts, with shorter answers: half a block is lost for each sequence of some 600 tokens."""
    figures = json.loads(cli("bench", "throughput", "--shape", "tiny", "--num-prompts", 40, "--output-len", "50:150",
                             "--output-json", "-").out)
    assert 0 < figures["kv_cache_waste_percent"] < 4


@pytest.mark.parametrize("text, value", [("50000000", 50_000_000), ("50000k", 50_000_000), ("0.05g", 50_000_000), ("50m", 50_000_000),
                                         ("48828K", 48828 << 10), ("50M", 50 << 20), ("50MiB", 50 << 20), ("0.5G", 1 << 29)])
def test_memory_is_given_with_a_unit(cli, text, value):
    plan = json.loads(cli("inspect", "tiny-assistant", "--device", "cpu", "--kv-cache-memory-bytes", text, "--json").out)["memory_plan"]
    assert plan["num_kv_blocks"] == value // plan["kv_bytes_per_block"]


def test_lengths_are_given_with_a_unit(cli):
    plan = json.loads(cli("inspect", "tiny-assistant", "--device", "cpu", "--max-model-len", "1.5k", "--max-num-batched-tokens", "2K",
                          "--json").out)["memory_plan"]
    assert (plan["max_model_len"], plan["max_num_batched_tokens"]) == (1500, 2048)


def test_a_cache_that_does_not_fit_is_refused_with_what_would(cli):
    refused = cli("inspect", "tiny-assistant", "--device", "cpu", "--kv-cache-memory-bytes", "1000T")
    assert refused.code == 2 and "kv_cache_memory_bytes" in refused.err and "at most" in refused.err
    refused = cli("inspect", "tiny-assistant", "--device", "cpu", "--kv-cache-memory-bytes", "1M", "--max-model-len", "2048")
    assert refused.code == 2
    fitting = refused.err.split("--max-model-len ")[1].split()[0]
    assert cli("inspect", "tiny-assistant", "--device", "cpu", "--kv-cache-memory-bytes", "1M", "--max-model-len", fitting).code == 0


# Large steps over a cache that the requests fill: none ends before the last has begun. Of the small one a fifth is the program.
@pytest.mark.parametrize("shape, cache, sequences, length", [("qwen3-0.6b", 200_000_000, 4, 415), ("tiny", 20_000_000, 16, 400)])
def test_the_memory_plan_holds_within_five_percent(cli, miniinfer, shape, cache, sequences, length):
    if "asan" in str(miniinfer):
        pytest.skip("a sanitizer keeps memory of its own")
    figures = json.loads(cli("bench", "throughput", "--shape", shape, "--dtype", "bfloat16", "--max-num-seqs", 2 * sequences,
                             "--max-num-batched-tokens", 512, "--kv-cache-memory-bytes", cache, "--num-prompts", sequences,
                             "--input-len", length, "--output-len", 12, "--output-json", "-").out)
    ratio = figures["peak_rss_bytes"] / figures["planned_bytes"]
    assert 0.95 < ratio < 1.05


def test_inspect_reports_what_it_cannot_run(cli, root, tmp_path):
    config = json.loads((root / "models/tiny-assistant/config.json").read_text())
    config["architectures"] = ["MysteryForCausalLM"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(root / "models/tiny-assistant/model.safetensors", tmp_path)
    result = cli("inspect", tmp_path, "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert not report["supported"] and report["architecture"] == "MysteryForCausalLM"
    assert any("MysteryForCausalLM" in problem for problem in report["problems"])
    assert len(report["tensors"]) > 10


def test_doctor_finds_the_operators_right(cli):
    result = cli("doctor", "--json")
    assert result.code == 0, result.out
    report = json.loads(result.out)
    assert report["healthy"] and report["cpu"]["supported"]
    assert {test["op"] for test in report["self_test"]} >= {"linear", "attention", "rms_norm", "softmax", "rope"}
    assert report["memory"]["read_gbytes_per_s"] > 0
    gpu = report["gpu"]
    assert gpu["usable"] != bool(gpu.get("reason")), gpu
    assert gpu["usable"] == any(device["usable"] for device in gpu["devices"]), gpu


@pytest.mark.parametrize("command", [["run", "hi"], ["bench", "ops"], ["bench", "gemm", "--shape", "tiny"]])
def test_a_machine_without_a_gpu_says_so(cli, command):
    gpu = json.loads(cli("doctor", "--json").out)["gpu"]
    if gpu["usable"]:
        pytest.skip("there is a GPU")
    if command[:2] == ["bench", "gemm"]:
        result = cli(*command)
    else:
        result = cli(*command, "--device", "cuda")
    assert result.code == 1, result.err
    assert result.err.strip() == f"error: device: {gpu['reason']}"
