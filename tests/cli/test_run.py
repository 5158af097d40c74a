"""`miniinfer run`: sources of prompts, what it prints, and the contract of --json."""

import json
import math
import random

import pytest

CAPITAL = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
KEYS = ["prompt_token_ids", "prompt_logprobs", "token_ids", "logprobs", "text", "finish_reason", "usage"]


def test_answers_on_the_embedded_model_and_closes_with_its_speed(cli):
    result = cli("run", "What is the capital of France?")
    assert result.code == 0
    assert "Paris" in result.out
    closing = result.err.splitlines()[-1]
    assert "tokens in" in closing and closing.endswith("tokens/s")


def test_every_source_gives_the_same_answer(cli, tmp_path):
    question = CAPITAL["messages"][0]["content"]
    chat = tmp_path / "chat.json"
    chat.write_text(json.dumps(CAPITAL["messages"]))
    whole = tmp_path / "whole.json"
    whole.write_text(json.dumps(CAPITAL))
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps(CAPITAL) + "\n")
    answers = {
        cli("run", question).out,
        cli("run", "--prompt", question).out,
        cli("run", "tiny-assistant", question).out,
        cli("run", stdin=question + "\n").out,
        cli("run", "--messages", chat).out,
        cli("run", "--messages", whole).out,
        cli("run", "--prompts-file", lines).out,
        cli("run", "--prompts-file", "-", stdin=json.dumps(CAPITAL)).out,
        cli("run", question, "--json").lines[0]["text"] + "\n",
    }
    assert len(answers) == 1


def test_json_has_the_keys_of_the_contract(ask):
    (answer,) = ask([{**CAPITAL, "logprobs": 2, "prompt_logprobs": 3}])
    assert list(answer) == KEYS
    assert answer["prompt_logprobs"][0] is None
    assert len(answer["prompt_logprobs"]) == len(answer["prompt_token_ids"])
    for entry, token in zip(answer["prompt_logprobs"][1:], answer["prompt_token_ids"][1:]):
        assert list(entry) == ["token_id", "logprob", "top"]
        assert entry["token_id"] == token
        assert len(entry["top"]) == 3
    assert [entry["token_id"] for entry in answer["logprobs"]] == answer["token_ids"]
    for entry in answer["logprobs"]:
        best_token, best = entry["top"][0]
        assert len(entry["top"]) == 2 and best <= 0
        assert best_token == entry["token_id"] and math.isclose(best, entry["logprob"], rel_tol=1e-6)
    assert answer["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["prompt_tokens"] == len(answer["prompt_token_ids"])
    assert usage["completion_tokens"] == len(answer["token_ids"])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0


def test_logprobs_are_null_unless_asked_for(ask):
    (answer,) = ask([CAPITAL])
    assert answer["logprobs"] is None and answer["prompt_logprobs"] is None


def test_a_bad_line_is_that_lines_error_and_the_others_go_on(ask):
    answers = ask([
        CAPITAL,
        "not json",
        {"prompt": "x", "temprature": 1},
        {"prompt": "x", "temperature": -1},
        {"prompt_token_ids": [4096]},
        {"prompt_token_ids": []},
        {"prompt_token_ids": [5] * 4000},
        {"prompt": "x", "max_tokens": 10**6},
        {"messages": []},
        {"prompt": "x", "min_tokens": 5, "max_tokens": 2},
        {"prompt": "x", "logprobs": 10**6},
        {"prompt": "x", "stop": [""]},
        {"prompt": "x", "logit_bias": {"999999": 1}},
        CAPITAL,
    ])
    errors = [answer.get("error") for answer in answers]
    assert errors[0] is None and errors[-1] is None
    assert answers[0]["token_ids"] == answers[-1]["token_ids"]
    for error in errors[1:-1]:
        assert list(error) == ["message", "type", "param", "code"]
        assert error["type"] == "invalid_request_error"
        assert "\n" not in error["message"]
    params = [error["param"] for error in errors[2:-1]]
    assert params[0] == "temprature" and params[1] == "temperature"
    assert params[7:] == ["min_tokens", "logprobs", "stop", "logit_bias"]
    assert errors[6]["code"] == "context_length_exceeded"
    assert errors[7]["code"] == "context_length_exceeded"


def test_ten_thousand_lines_with_bad_ones_among_them(ask):
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    bad = set(draw.sample(range(10000), 500))
    lines = [
        "{" if i in bad else {"prompt_token_ids": [3 + i % 4000, 5], "max_tokens": 1 + i % 2, "ignore_eos": True}
        for i in range(10000)
    ]
    answers = ask(lines)
    assert len(answers) == len(lines)
    for i, answer in enumerate(answers):
        if i in bad:
            assert answer["error"]["code"] == "invalid_argument"
        else:
            assert answer["prompt_token_ids"] == [3 + i % 4000, 5]
            assert len(answer["token_ids"]) == 1 + i % 2


def test_a_request_gets_the_same_tokens_alone_and_in_a_batch(ask):
    requests = [
        {"messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "temperature": 1, "seed": a * b}
        for a in range(3, 9)
        for b in range(10, 18)
    ]
    together = ask(requests)
    for i in range(0, len(requests), 11):
        (alone,) = ask([requests[i]])
        assert alone["token_ids"] == together[i]["token_ids"]


def test_stop_strings_never_show_and_cut_text_and_tokens_alike(ask):
    (whole,) = ask([CAPITAL])
    text = whole["text"]
    for begin in range(1, len(text) - 3):
        stop = text[begin : begin + 3]
        (cut,) = ask([{**CAPITAL, "stop": stop}])
        assert cut["text"] == text[: text.find(stop)]
        assert cut["finish_reason"] == "stop"
        assert cut["token_ids"] == whole["token_ids"][: len(cut["token_ids"])]
        assert cut["usage"]["completion_tokens"] == len(cut["token_ids"])
    (shown,) = ask([{**CAPITAL, "stop": text[2:5], "include_stop_str_in_output": True}])
    assert shown["text"] == text[: text.find(text[2:5]) + 3]


def test_min_tokens_and_ignore_eos_hold_the_end_off(ask):
    (plain,) = ask([CAPITAL])
    count = len(plain["token_ids"])
    (longer,) = ask([{**CAPITAL, "min_tokens": count + 5, "max_tokens": count + 20}])
    assert len(longer["token_ids"]) > count + 4
    (full,) = ask([{**CAPITAL, "ignore_eos": True, "max_tokens": count + 7}])
    assert len(full["token_ids"]) == count + 7 and full["finish_reason"] == "length"


def test_stop_token_ids_end_and_stay_out_of_the_text(ask):
    (plain,) = ask([CAPITAL])
    token = plain["token_ids"][1]
    (cut,) = ask([{**CAPITAL, "stop_token_ids": [token]}])
    end = plain["token_ids"].index(token)
    assert cut["token_ids"] == plain["token_ids"][: end + 1]
    assert plain["text"].startswith(cut["text"]) and len(cut["text"]) < len(plain["text"])


def test_flags_that_may_be_repeated_leave_the_prompt_alone(cli):
    ids = json.loads(cli("run", "Hi", "--json").out)["token_ids"]
    result = cli("run", "--stop-token-ids", f"{ids[2]},{ids[1]}", "Hi", "--json")
    assert json.loads(result.out)["token_ids"] == ids[:2], result.err
    result = cli("run", "--stop-token-ids", ids[3], "--stop-token-ids", ids[2], "Hi", "--json")
    assert json.loads(result.out)["token_ids"] == ids[:3], result.err
    for flag, value in [("--stop", "zzz"), ("--bad-words", "zzz"), ("--logit-bias", "5:0")]:
        result = cli("run", flag, value, "Hi", "--json")
        assert json.loads(result.out)["token_ids"] == ids, (flag, result.err)


def test_n_continuations_of_one_prompt(ask):
    (answer,) = ask([{**CAPITAL, "n": 3, "temperature": 1, "seed": 7, "max_tokens": 8, "ignore_eos": True}])
    assert [output["index"] for output in answer["outputs"]] == [0, 1, 2]
    assert answer["outputs"][0]["token_ids"] == answer["token_ids"]
    assert answer["usage"]["completion_tokens"] == 24


def test_logit_bias_and_bad_words_steer(ask):
    (plain,) = ask([CAPITAL])
    first = plain["token_ids"][0]
    (biased,) = ask([{**CAPITAL, "logit_bias": {str(first): -100}}])
    assert biased["token_ids"][0] != first
    (without,) = ask([{**CAPITAL, "bad_words": ["Paris"]}])
    assert "Paris" in plain["text"] and "Paris" not in without["text"]


def test_flags_are_defaults_for_lines(ask):
    answers = ask([{**CAPITAL}, {**CAPITAL, "max_tokens": 4}], "--max-tokens", 2, "--ignore-eos")
    assert [len(answer["token_ids"]) for answer in answers] == [2, 4]


def test_plain_output_of_many_prompts_is_a_line_each_and_failures_show_in_the_exit_code(cli):
    lines = json.dumps(CAPITAL) + "\nbad\n"
    result = cli("run", "--prompts-file", "-", stdin=lines)
    assert result.code == 1
    assert "Paris" in result.out and "error: line 2" in result.err


def test_raw_text_is_continued_as_it_stands(cli, ask):
    raw = cli("run", "--raw", "--json", "--max-tokens", "4", "Paris is").lines[0]
    (line,) = ask([{"prompt": "Paris is", "max_tokens": 4}])
    assert raw["prompt_token_ids"] == line["prompt_token_ids"]
    assert raw["token_ids"] == line["token_ids"]


def golden_cases(root):
    return sorted(path.parent for path in (root / "tests/golden/checkpoints").glob("*/run.jsonl"))


def test_whole_directories_answer_like_transformers(root, ask):
    cases = golden_cases(root)
    assert cases
    for directory in cases:
        lines = [json.loads(line) for line in (directory / "run.jsonl").read_text().splitlines()]
        count = len(lines[0]["token_ids"])
        answers = ask([line["question"] for line in lines], "--temperature", "0", "--ignore-eos", "--max-tokens", count,
                      "--dtype", "float32", model=[directory])
        for line, answer in zip(lines, answers):
            assert answer["prompt_token_ids"] == line["prompt_token_ids"]
            assert_equal_away_from_ties(answer["token_ids"], line)
            if answer["token_ids"] == line["token_ids"]:
                assert answer["text"] == line["text"]


def assert_equal_away_from_ties(token_ids, line):
    for i, (got, wanted) in enumerate(zip(token_ids, line["token_ids"])):
        if got != wanted:
            assert line["margins"][i] < 1e-3, f"token {i}"
            return


@pytest.mark.parametrize("name", ["qwen3-fp32", "llama2-fp32-sharded", "rope-dynamic-fp32"])
def test_a_checkpoint_without_tokenizer_answers_in_tokens(checkpoints, ask, name):
    golden = json.loads((checkpoints / name / "expected.json").read_text())["prompts"]
    answers = ask([{"prompt_token_ids": prompt["token_ids"]} for prompt in golden], "--temperature", 0, "--max-tokens", 24,
                  "--ignore-eos", "--prompt-logprobs", 0, model=[checkpoints / name])
    for answer, prompt in zip(answers, golden):
        assert answer["text"] == ""
        assert_equal_away_from_ties(answer["token_ids"], prompt["greedy"])
        for entry, wanted in zip(answer["prompt_logprobs"][1:], prompt["prompt_logprobs"][1:]):
            assert abs(entry["logprob"] - wanted) < 1e-4
    (refused,) = ask([{"prompt": "text"}], model=[checkpoints / name])
    assert refused["error"]["param"] == "prompt" and "tokenizer.json" in refused["error"]["message"]


def test_dummy_weights_need_only_a_config(root, ask, tmp_path):
    (tmp_path / "config.json").write_text((root / "models/tiny-assistant/config.json").read_text())
    (answer,) = ask([{"prompt_token_ids": [1, 2, 3], "max_tokens": 5, "ignore_eos": True}], "--load-format", "dummy",
                    model=[tmp_path])
    assert len(answer["token_ids"]) == 5
