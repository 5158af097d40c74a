"""A wrong command line or model ends with one line on stderr and the exit code of its kind."""

import shutil

import pytest

USAGE, FAILED = 2, 1

BAD_COMMAND_LINES = [
    [],
    ["launch"],
    ["bench"],
    ["run", "--frobnicate"],
    ["run", "hi", "--max-tokens", "5", "--max-tokens", "6"],
    ["run", "hi", "--json", "--json"],
    ["run", "hi", "--max-tokens", "many"],
    ["run", "hi", "--max-tokens", "99999999999999999999"],
    ["run", "hi", "--max-tokens", "0"],
    ["run", "hi", "--max-tokens", "-1"],
    ["run", "hi", "--temperature", "nan"],
    ["run", "hi", "--temperature", "-1"],
    ["run", "hi", "--top-p", "0"],
    ["run", "hi", "--min-p", "1.5"],
    ["run", "hi", "--n", "1000000000"],
    ["run", "hi", "--seed", "18446744073709551616"],
    ["run", "hi", "--seed", "-1"],
    ["run", "hi", "--stop", ""],
    ["run", "hi", "--logit-bias", "x:1"],
    ["run", "hi", "--logprobs", "1000000"],
    ["run", "hi", "--max-tokens", ""],
    ["run", "hi", "--max-tokens", "1e3"],
    ["run", "hi", "--max-tokens", "0x10"],
    ["run", "hi", "--max-tokens", "010"],
    ["run", "hi", "--temperature", "0x1p-1"],
    ["run", "hi", "--stop-token-ids", "5,0x6"],
    *(["run", "hi", "--kv-cache-memory-bytes", value]
      for value in ["", "0", "-1", "ten", "10X", "10GB", "10 G", "G", "0.3", "1.0001k", "010", "0x10", "1e9", "inf", "nan", "2000T", "+5"]),
    *(["run", "hi", "--max-model-len", value] for value in ["0", "0k", "2.5", "1kk", "-4K"]),
    ["run", "hi", "--gpu-memory-utilization", "0"],
    ["run", "hi", "--gpu-memory-utilization", "1.1"],
    ["bench", "ops", "--filter", "linear("],
    ["bench", "ops", "--filter", "(" * 2000],
    ["bench", "ops", "--filter", "no such operator"],
    ["bench", "engine", "--json"],
    ["bench", "engine", "--num-steps", "1", "--output-json", "/nowhere/figures.json"],
    ["run", "hi", "--max-tokens", "2147483648"],
    ["run", "hi", "--max-tokens"],
    ["run", "hi", "--max-token", "5"],
    ["run", "hi", "-max-tokens", "5"],
    ["run", "hi", "--temperature", "inf"],
    ["run", "hi", "--temperature", "1e400"],
    ["run", "hi", "--temperature", "0.5x"],
    ["run", "hi", "--temperature", "1,5"],
    ["run", "hi", "--top-k", "-2"],
    ["run", "hi", "--top-p", "nan"],
    ["run", "hi", "--repetition-penalty", "0"],
    ["run", "hi", "--seed", "1.5"],
    ["run", "hi", "--seed", ""],
    ["run", "hi", "--seed", "1", "--seed", "1"],
    ["run", "hi", "--logit-bias", "99999:1"],
    ["run", "hi", "--logit-bias", "5:nan"],
    ["run", "hi", "--logit-bias", "5:1e300"],
    ["run", "hi", "--logprobs", "-1"],
    ["run", "hi", "--stop-token-ids", "4096"],
    ["run", "hi", "--stop-token-ids", "-1"],
    ["run", "hi", "--stop-token-ids", "1,x"],
    ["run", "hi", "--min-tokens", "9", "--max-tokens", "5"],
    ["run", "hi", "--threads", "1.5"],
    ["run", "hi", "--threads", "4000"],
    ["run", "hi", "--max-num-seqs", "0"],
    ["run", "hi", "--max-num-batched-tokens", "0"],
    ["run", "hi", "--kv-cache-memory-bytes", "-1"],
    ["run", "hi", "--kv-cache-memory-bytes", "9223372036854775808"],
    ["run", "hi", "--json=maybe"],
    ["run", "hi", "--prompt", "a", "--prompt", "b"],
    ["run", "--prompt", "hi", "--prompts-file", "-"],
    ["run", "hi", "--enable-lora"],
    ["run", "hi", "--speculative-config", "{}"],
    ["run", "hi", "-tp", "2"],
    ["run", "hi", "--tensor-parallel-size", "2"],
    ["run", "hi", "--gpu-memory-utilization", "1.5"],
    ["serve", "--port", "70000"],
    ["run", "hi", "--dtype", "int8"],
    ["run", "hi", "--device", "tpu"],
    ["run", "hi", "--threads", "0"],
    ["run", "hi", "--max-model-len", "100000000"],
    ["run", "hi", "--max-model-len", "0"],
    ["run", "hi", "--max-model-len", "2000", "--kv-cache-memory-bytes", "100000"],
    ["run", "hi", "--kv-cache-memory-bytes", "10"],
    ["run", "hi", "--scheduling-policy", "lifo"],
    ["run", "hi", "--load-format", "pickle"],
    ["run", "hi", "--max-tokens", "1000000"],
    ["run", "/no/such/model", "hi"],
    ["run", "./no-such-model"],
    ["run", "README.md", "hi"],
    ["run", "one", "two", "three"],
    ["run", "hi", "--prompt", "ho"],
    ["run", "hi", "--messages", "/no/such/file"],
    ["run", "--prompts-file", "/no/such/file"],
    ["run", "--prompts-file", "/tmp"],
    ["run", "hi", "--tokenizer", "/no/such/directory"],
    ["run", "hi", "--chat-template", "/no/such/file"],
    ["tokenize"],
    ["tokenize", "/no/such/model", "hi"],
    ["tokenize", "tiny-assistant", "hi", "--input-file", "x"],
    ["tokenize", "tiny-assistant", "--input-file", "/no/such/file"],
    ["eval"],
    ["eval", "/no/such/model"],
    ["eval", "tiny-assistant", "--skill", "flying"],
    ["eval", "tiny-assistant", "--file", "/no/such/file"],
    ["inspect"],
    ["inspect", "/no/such/model"],
    ["doctor", "--threads", "-3"],
    ["chat", "/no/such/model"],
    ["bench", "latency", "--shape", "gpt-9"],
    ["bench", "latency", "--shape", "tiny", "tiny-assistant"],
    ["bench", "latency", "--input-len", "0"],
    ["bench", "throughput", "--input-len", "9:3"],
    ["bench", "throughput", "--input-len", "nine"],
    ["bench", "throughput", "--num-prompts", "0"],
    ["bench", "throughput", "--dataset-name", "sharegpt"],
    ["bench", "ops", "--filter", "no such case"],
]


def expect_one_error_line(result, code):
    assert result.code == code, result.err
    assert result.out == ""
    assert result.err.startswith("error: ") and result.err.count("\n") == 1, result.err


@pytest.mark.parametrize("arguments", BAD_COMMAND_LINES, ids=" ".join)
def test_bad_command_line(cli, arguments):
    expect_one_error_line(cli(*arguments), USAGE)


def test_a_directory_without_a_model(cli, tmp_path):
    result = cli("run", tmp_path, "hi")
    expect_one_error_line(result, FAILED)
    assert "config.json" in result.err


@pytest.mark.parametrize(
    "file, content, named",
    [
        ("config.json", "{", "config.json"),
        ("config.json", "[" * 100000, "config.json"),
        ("config.json", '{"architectures": ["NoSuchModel"], "model_type": "none"}', "NoSuchModel"),
        ("model.safetensors", "", "model.safetensors"),
        ("model.safetensors", "\xff" * 64, "model.safetensors"),
        ("tokenizer.json", "{}", "tokenizer.json"),
        ("chat_template.jinja", "{% if %}", "chat_template.jinja"),
        ("generation_config.json", "[", "generation_config.json"),
    ],
    ids=["config", "deep-config", "architecture", "empty-weights", "header-length", "tokenizer", "template", "generation"],
)
def test_a_corrupt_file_is_named(cli, root, tmp_path, file, content, named):
    for name in ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja"]:
        shutil.copy(root / "models/tiny-assistant" / name, tmp_path)
    (tmp_path / file).write_bytes(content.encode("latin-1"))
    result = cli("run", tmp_path, "hi")
    expect_one_error_line(result, FAILED)
    assert named in result.err


def test_an_unknown_template_failure_is_the_requests_error(cli, root, tmp_path):
    template = tmp_path / "raises.jinja"
    template.write_text("{{ raise_exception('only poems') }}")
    result = cli("run", "hi", "--chat-template", template)
    expect_one_error_line(result, USAGE)
    assert "only poems" in result.err


def test_the_prompt_must_fit_the_context(cli):
    result = cli("run", "word " * 5000)
    expect_one_error_line(result, USAGE)
    assert "context_length_exceeded" in result.err


def test_help_of_every_verb_has_examples(cli):
    for verb in ["run", "chat", "tokenize", "bench", "bench latency", "bench throughput", "bench engine",
                 "bench ops", "eval", "inspect",
                 "doctor"]:
        result = cli(*verb.split(), "--help")
        assert result.code == 0 and "Examples:" in result.out, verb
        for notation in ["(0x)", "{false}", "INT:", "TEXT:"]:
            assert notation not in result.out, verb
    assert cli("--help").code == 0


def test_version_has_the_commit(cli):
    result = cli("--version")
    assert result.code == 0
    assert result.out.startswith("miniinfer ") and "(commit " in result.out
