"""What `run --json` promises beyond its shape: the numbers, and that nothing around a request changes them."""

import json
import math
import os
import random
import subprocess

import pytest

CHAT = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
LONG = {"messages": [{"role": "user", "content": "Remember: my name is Ann. " * 30 + "What is my name?"}]}


def checkpoint_names():
    import pathlib

    return sorted(path.parent.name for path in pathlib.Path(__file__).parents[1].glob("golden/checkpoints/*/expected.json"))


def bare(answer):
    """The answer without what a cache hit may change."""
    return {**answer, "usage": {**answer["usage"], "prompt_tokens_details": None}}


@pytest.mark.parametrize("name", checkpoint_names())
def test_logprobs_and_greedy_tokens_are_those_of_transformers(checkpoints, ask, name):
    """float32 within 1e-4; bfloat16 within twice the error that transformers has in it."""
    golden = json.loads((checkpoints / name / "expected.json").read_text())
    lines = [{"prompt_token_ids": prompt["token_ids"]} for prompt in golden["prompts"]]
    flags = ["--temperature", 0, "--max-tokens", 24, "--ignore-eos", "--prompt-logprobs", 5, "--logprobs", 0]

    def worst_of(dtype):
        worst = 0.0
        answers = ask(lines, *flags, "--dtype", dtype, model=[checkpoints / name])
        for answer, prompt in zip(answers, golden["prompts"]):
            assert answer["prompt_logprobs"][0] is None
            for entry, wanted in zip(answer["prompt_logprobs"][1:], prompt["prompt_logprobs"][1:]):
                assert math.isfinite(entry["logprob"])
                worst = max(worst, abs(entry["logprob"] - wanted))
            if dtype == "float32":
                expect_greedy(answer, prompt)
        return worst

    assert worst_of("float32") <= 1e-4
    assert worst_of("bfloat16") <= 2 * golden["own_error"]["bfloat16"]["prompt_logprobs_max"] + 1e-4


def expect_greedy(answer, prompt):
    greedy = prompt["greedy"]
    for i, (got, wanted) in enumerate(zip(answer["token_ids"], greedy["token_ids"])):
        if got != wanted:
            assert greedy["margins"][i] < 1e-3, f"token {i}"
            return
        assert abs(answer["logprobs"][i]["logprob"] - greedy["logprobs"][i]) < 2e-4
    for entry, wanted in zip(answer["prompt_logprobs"][1:], prompt["prompt_top"][1:]):
        for (got_id, got), (wanted_id, value) in zip(entry["top"], wanted):
            assert got_id == wanted_id or abs(got - value) < 1e-3
            assert abs(got - value) < 1e-3


def test_logprobs_are_of_the_raw_logits(ask):
    """Whatever shapes the draw, an equal context has equal logprobs."""
    (plain,) = ask([{**CHAT, "temperature": 0, "logprobs": 20}])
    first = plain["logprobs"][0]["top"]
    shaped = ask([
        {**CHAT, "logprobs": 20, "temperature": 3, "seed": 1},
        {**CHAT, "logprobs": 20, "temperature": 1, "top_k": 1},
        {**CHAT, "logprobs": 20, "temperature": 1, "top_p": 0.01, "seed": 1},
        {**CHAT, "logprobs": 20, "repetition_penalty": 5, "presence_penalty": 2, "frequency_penalty": 2},
        {**CHAT, "logprobs": 20, "logit_bias": {str(first[0][0]): -100}},
        {**CHAT, "logprobs": 20, "bad_words": ["The"]},
        {**CHAT, "logprobs": 20, "min_tokens": 4},
    ])
    for answer in shaped:
        entry = answer["logprobs"][0]
        assert [token for token, _ in entry["top"]] == [token for token, _ in first]
        for (_, got), (_, wanted) in zip(entry["top"], first):
            assert abs(got - wanted) < 1e-4
        known = dict(map(tuple, entry["top"]))
        if entry["token_id"] in known:
            assert abs(known[entry["token_id"]] - entry["logprob"]) < 1e-5


def test_top_logprobs_are_sorted_and_no_more_than_certain(ask):
    (answer,) = ask([{**LONG, "logprobs": 20, "prompt_logprobs": 20, "max_tokens": 5}])
    for entry in answer["logprobs"] + answer["prompt_logprobs"][1:]:
        values = [value for _, value in entry["top"]]
        assert len(values) == 20 and values == sorted(values, reverse=True)
        assert len({token for token, _ in entry["top"]}) == 20
        assert sum(map(math.exp, values)) < 1 + 1e-4
        assert entry["logprob"] <= values[0] + 1e-6


def test_seeded_draws_do_not_depend_on_company(ask):
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    crowd = [{"prompt_token_ids": [draw.randrange(4000) for _ in range(draw.randrange(1, 120))], "max_tokens": draw.randrange(1, 40),
              "temperature": 1.5, "ignore_eos": True} for _ in range(60)]
    victims = [{**CHAT, "temperature": 0.9, "seed": 2**64 - 1}, {**LONG, "temperature": 1.3, "seed": 3, "top_p": 0.95},
               {**CHAT, "n": 4, "temperature": 2.0, "seed": 11, "max_tokens": 20, "ignore_eos": True}]
    alone = [bare(ask([victim])[0]) for victim in victims]
    mixed = list(crowd)
    for i, victim in enumerate(victims):
        mixed.insert(20 * i + 7, victim)
    for flags in ([], ["--max-num-seqs", 3], ["--max-num-batched-tokens", 33], ["--no-enable-prefix-caching"], ["--threads", 1]):
        answers = ask(mixed, *flags)
        assert [bare(answers[20 * i + 7])["token_ids"] for i in range(3)] == [answer["token_ids"] for answer in alone], flags
        assert [output["token_ids"] for output in answers[47]["outputs"]] == [o["token_ids"] for o in alone[2]["outputs"]], flags
    assert len({tuple(output["token_ids"]) for output in alone[2]["outputs"]}) > 1


def test_cache_hits_and_chunks_change_nothing(ask):
    fields = {"max_tokens": 20, "prompt_logprobs": 2, "logprobs": 2, "temperature": 0}
    (cold,) = ask([{**LONG, **fields}], "--no-enable-prefix-caching")
    assert cold["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    again = ask([{**LONG, **fields, "prompt_logprobs": None}] * 2 + [{**LONG, **fields}], "--max-num-seqs", 1)
    assert again[1]["usage"]["prompt_tokens_details"]["cached_tokens"] > 100
    salted = ask([{**LONG, **fields, "cache_salt": salt, "prompt_logprobs": None} for salt in "aba"], "--max-num-seqs", 1)
    assert [answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0 for answer in salted] == [False, False, True]
    for answer in again + salted:
        assert answer["token_ids"] == cold["token_ids"]
        assert answer["logprobs"] == cold["logprobs"]
    assert again[2]["prompt_logprobs"] == cold["prompt_logprobs"]
    for budget in (1, 16, 37):
        (chunked,) = ask([{**LONG, **fields}], "--max-num-batched-tokens", budget, "--max-num-seqs", 1)
        assert chunked["token_ids"] == cold["token_ids"], budget
        for got, wanted in zip(chunked["prompt_logprobs"][1:], cold["prompt_logprobs"][1:]):
            assert abs(got["logprob"] - wanted["logprob"]) < 0.1


def test_a_tiny_cache_preempts_and_answers_alike(ask):
    lines = [{"prompt_token_ids": [5 + i] * 40, "max_tokens": 60, "ignore_eos": True, "temperature": 1, "seed": i} for i in range(12)]
    roomy = ask(lines)
    block = 16 * 2 * 4 * 1024
    tight = ask(lines, "--kv-cache-memory-bytes", 14 * block, "--max-model-len", 112)
    assert [answer.get("token_ids") for answer in tight] == [answer["token_ids"] for answer in roomy]


def test_stop_strings_across_tokens_and_options_around_them(ask):
    (whole,) = ask([{**CHAT, "temperature": 0}])
    text = whole["text"]
    for begin in range(len(text) - 1):
        for length in (1, 2, 7):
            stop = text[begin : begin + length]
            at = text.find(stop)
            hidden, shown = ask([{**CHAT, "temperature": 0, "stop": ["never here", stop]},
                                 {**CHAT, "temperature": 0, "stop": stop, "include_stop_str_in_output": True}])
            assert (hidden["text"], shown["text"]) == (text[:at], text[: at + len(stop)])
            assert hidden["finish_reason"] == shown["finish_reason"] == "stop"
        if begin > 4:
            break
    (held,) = ask([{**CHAT, "temperature": 0, "stop": text[0], "min_tokens": len(whole["token_ids"]) - 2}])
    assert len(held["token_ids"]) >= len(whole["token_ids"]) - 2


def test_usage_and_reasons_add_up(ask):
    answers = ask([{**CHAT, "max_tokens": k} for k in (1, 2, 3)] + [CHAT] + [{**CHAT, "ignore_eos": True, "max_tokens": 50}])
    for answer in answers:
        usage = answer["usage"]
        assert usage["completion_tokens"] == len(answer["token_ids"])
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert [answer["finish_reason"] for answer in answers] == ["length"] * 3 + ["stop", "length"]
    assert len(answers[4]["token_ids"]) == 50


def test_text_is_what_the_tokens_say(ask, cli):
    answers = ask([{**CHAT, "temperature": 1.5, "seed": i, "max_tokens": 60, "ignore_eos": True} for i in range(20)])
    lines = "".join(json.dumps({"token_ids": answer["token_ids"], "stream": True}) + "\n" for answer in answers)
    decoded = cli("tokenize", "tiny-assistant", "--input-file", "-", "--no-special-tokens", stdin=lines).lines
    for answer, line in zip(answers, decoded):
        assert line["text"] == answer["text"] == "".join(line["pieces"])


def test_a_poor_surrounding_is_enough(miniinfer, tmp_path):
    """No HOME, no PATH, a directory that cannot be written, nothing open but stdout."""
    place = tmp_path / "read-only"
    place.mkdir()
    place.chmod(0o555)
    done = subprocess.run([miniinfer, "run", "What is the capital of France?"], cwd=place, env={}, stdout=subprocess.PIPE,
                          preexec_fn=lambda: (os.close(0), os.close(2)), timeout=30)
    assert done.returncode == 0 and b"Paris" in done.stdout


def test_no_stdin_at_all_is_an_empty_prompt_or_an_error(miniinfer):
    for arguments in (["run"], ["run", "--prompts-file", "-", "--json"], ["tokenize", "tiny-assistant"]):
        done = subprocess.run([miniinfer, *arguments], preexec_fn=lambda: os.close(0), capture_output=True, timeout=30)
        assert done.returncode in (0, 1, 2), (arguments, done.stderr)


@pytest.mark.parametrize("arguments", [["run", "hi", "--max-tokens", "3"], ["--version"], ["run", "--help"]], ids=str)
def test_a_full_disk_is_an_error(miniinfer, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([miniinfer, *arguments], stdout=full, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=30, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("arguments", [
    ["run", b"\xff\xfe"], ["run", "--raw", b"\xff"], ["run", "--prompt", b"a\xc3"], ["run", "hi", "--stop", b"\xff"],
    ["run", b"no/\xff"], ["tokenize", "tiny-assistant", b"\xff"], ["inspect", b"/no/\xff"], ["run", "", "--raw"],
    ["run", "--prompt", "", "--raw"], ["chat", "--system", b"\xff"], ["run", "hi", "--bad-words", b"\xff"],
], ids=str)
def test_words_that_are_no_text_are_refused(miniinfer, arguments):
    done = subprocess.run([miniinfer, *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1


def test_piped_text_that_is_no_utf8_is_refused(miniinfer):
    for verb in (["run"], ["run", "--raw"], ["tokenize", "tiny-assistant"]):
        done = subprocess.run([miniinfer, *verb], input=b"\xff\xfe\n", capture_output=True, timeout=30)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
    done = subprocess.run([miniinfer, "chat"], input=b"\xff\xfe\n/system \xff\nhi\n", capture_output=True, timeout=30)
    assert done.returncode == 0 and done.stdout.count(b"error: ") == 2, (done.stdout, done.stderr)


def test_a_head_that_leaves_early_ends_a_batch(miniinfer):
    lines = '{"prompt_token_ids": [5], "max_tokens": 20, "ignore_eos": true}\n' * 3000
    shell = subprocess.run(f"'{miniinfer}' run --prompts-file - --json | head -1", shell=True, input=lines, text=True,
                           capture_output=True, timeout=60)
    assert shell.stdout.count("\n") == 1 and shell.stderr == ""


def test_greedy_draws_of_ten_runs_are_one(ask):
    answers = ask([{**CHAT, "temperature": 0}] * 10 + [{**CHAT, "temperature": 1e-5, "seed": 4}])
    assert len({tuple(answer["token_ids"]) for answer in answers}) == 1
