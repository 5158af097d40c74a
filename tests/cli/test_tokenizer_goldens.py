"""Every golden tokenizer through `miniinfer tokenize`, as transformers has it."""

import json

import pytest

NAMES = ["gemma", "gpt2", "llama2", "llama3", "mistral", "qwen2", "single-digits", "unigram"]


def read(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line] if path.exists() else []


@pytest.fixture(scope="module")
def tokenize(cli, root):
    def run(name, requests, *arguments):
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        result = cli("tokenize", root / "tests/golden/tokenizers" / name, "--input-file", "-", *arguments, stdin=lines)
        assert result.code == 0, result.err
        return result.lines

    return run


@pytest.mark.parametrize("name", NAMES)
def test_texts_and_tokens(root, tokenize, name):
    golden = read(root / "tests/golden/tokenizers" / name / "expected.jsonl")
    texts = [line for line in golden if "text" in line]
    for answer, line in zip(tokenize(name, [{"text": line["text"]} for line in texts]), texts, strict=True):
        assert answer["token_ids"] == line["token_ids"], line["text"]
    bare = tokenize(name, [{"text": line["text"]} for line in texts], "--no-special-tokens")
    for answer, line in zip(bare, texts, strict=True):
        assert answer["token_ids"] == line["token_ids_no_special"], line["text"]
    requests = [{"token_ids": line["token_ids"], "stream": True} for line in golden]
    for flags, wanted in [([], "decoded"), (["--no-special-tokens"], "decoded_skip_special")]:
        for answer, line in zip(tokenize(name, requests, *flags), golden, strict=True):
            assert answer["text"] == line[wanted]
            assert "".join(answer["pieces"]) == line[wanted]
            assert len(answer["pieces"]) == len(line["token_ids"])


@pytest.mark.parametrize("name", NAMES)
def test_chats(root, tokenize, name):
    golden = read(root / "tests/golden/tokenizers" / name / "expected_chat.jsonl")
    keys = ("messages", "tools", "chat_template_kwargs", "add_generation_prompt")
    requests = [{key: line[key] for key in keys if key in line} for line in golden]
    for answer, line in zip(tokenize(name, requests), golden, strict=True):
        if "text" not in line:
            assert answer["error"]["param"] == "messages"
            continue
        assert answer["text"] == line["text"]
        if "token_ids" in line:
            assert answer["token_ids"] == line["token_ids"]
