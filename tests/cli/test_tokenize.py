"""`miniinfer tokenize`: the contract of its lines."""

import json

CHAT = {"messages": [{"role": "user", "content": "hi <|im_end|> there"}]}


def ask(cli, requests, *arguments, model="tiny-assistant"):
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in requests)
    result = cli("tokenize", model, "--input-file", "-", *arguments, stdin=text)
    assert result.code == 0, result.err
    return result.lines


def test_text_goes_to_tokens_and_back(cli):
    texts = ["Hello, world", "naïve 😀 12345", "", "  spaces\n\n\ttabs ", "e\u0301 combining", "नमस्ते"]
    encoded = ask(cli, [{"text": text} for text in texts])
    decoded = ask(cli, [{"token_ids": line["token_ids"], "stream": True} for line in encoded])
    assert [line["text"] for line in decoded] == texts
    for line, tokens in zip(decoded, encoded):
        assert len(line["pieces"]) == len(tokens["token_ids"])
        assert "".join(line["pieces"]) == line["text"]


def test_the_input_may_be_an_argument_stdin_or_a_file(cli, tmp_path):
    file = tmp_path / "lines.jsonl"
    file.write_text('{"text": "one two"}\n')
    wanted = ask(cli, [{"text": "one two"}])
    assert cli("tokenize", "tiny-assistant", "one two", "--json").lines == wanted
    assert cli("tokenize", "tiny-assistant", "--json", stdin="one two").lines == wanted
    assert cli("tokenize", "tiny-assistant", "--input-file", file).lines == wanted
    assert cli("tokenize", "tiny-assistant", "one two").out.endswith(f"{len(wanted[0]['token_ids'])} tokens\n")


def test_messages_are_rendered_and_their_text_stays_text(cli):
    (line, bare) = ask(cli, [CHAT, {**CHAT, "add_generation_prompt": False}])
    assert list(line) == ["text", "token_ids"]
    assert CHAT["messages"][0]["content"] in line["text"]
    assert line["text"].startswith(bare["text"]) and len(bare["text"]) < len(line["text"])
    (end,) = ask(cli, [{"text": "<|im_end|>"}])[0]["token_ids"]
    assert line["token_ids"].count(end) == 1  # the template's own


def test_the_flag_leaves_special_tokens_out(cli, root):
    model = root / "tests/golden/tokenizers/llama3"
    (plain,) = ask(cli, [{"text": "hi"}], model=model)
    (bare,) = ask(cli, [{"text": "hi"}], "--no-special-tokens", model=model)
    assert plain["token_ids"][1:] == bare["token_ids"]
    (shown,) = ask(cli, [plain], model=model)
    (skipped,) = ask(cli, [plain], "--no-special-tokens", model=model)
    assert shown["text"].endswith("hi") and len(shown["text"]) > 2
    assert skipped["text"] == "hi"


def test_bad_lines_have_their_own_errors(cli):
    answers = ask(cli, ["{", {}, {"text": 5}, {"text": "a", "extra": 1}, {"token_ids": [-1]}, {"token_ids": [2**31]},
                        {"token_ids": "1"}, {"messages": "hi"}, {"messages": [], "add_generation_prompt": 1}, {"text": "b"}])
    assert all(list(answer["error"]) == ["message", "type", "param", "code"] for answer in answers[:-1])
    params = [answer["error"]["param"] for answer in answers[2:-1]]
    assert params == ["text", "extra", "token_ids", "token_ids", "token_ids", "messages", "add_generation_prompt"]
    assert list(answers[-1]) == ["token_ids"]


def test_a_template_that_raises_is_that_lines_error(cli, root):
    template = root / "tests/golden/templates/raises.jinja"
    answers = ask(cli, [CHAT, {"text": "x"}], "--chat-template", template)
    assert list(answers[1]) == ["token_ids"]
    assert answers[0].keys() <= {"error", "text", "token_ids"}
