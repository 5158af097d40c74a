"""No tokenizer and no chat template crash the program, keep it busy, or show what is not theirs."""

import json
import re

import pytest

from model_dir import QUESTION, refused


def tokenizer(change):
    def apply(model):
        content = model.read("tokenizer.json")
        change(content)
        model.write("tokenizer.json", content)

    return apply


def duplicate_id(content):
    vocab = content["model"]["vocab"]
    first, second = list(vocab)[:2]
    vocab[first] = vocab[second]


BAD_TOKENIZERS = {
    "empty": lambda model: model.write("tokenizer.json", ""),
    "array": lambda model: model.write("tokenizer.json", "[]"),
    "truncated": lambda model: model.write("tokenizer.json", (model.path / "tokenizer.json").read_text()[:5000]),
    "10^5 nested": lambda model: model.write("tokenizer.json", "[" * 10**5),
    "not UTF-8": lambda model: model.write("tokenizer.json", b'{"version": "\xff"}'),
    "other version": tokenizer(lambda content: content.update(version="2.0")),
    "no model": tokenizer(lambda content: content.pop("model")),
    "duplicate id": tokenizer(duplicate_id),
    "duplicate added id": tokenizer(lambda content: content["added_tokens"][1].update(id=content["added_tokens"][0]["id"])),
    "added id of another": tokenizer(lambda content: content["added_tokens"][0].update(id=5)),
    "negative id": tokenizer(lambda content: content["model"]["vocab"].update({"!": -1})),
    "id 2^40": tokenizer(lambda content: content["model"]["vocab"].update({"!": 2**40})),
    "merge of an absent token": tokenizer(lambda content: content["model"]["merges"].append(["nosuch", "token"])),
    "merge into an absent token": tokenizer(lambda content: content["model"]["merges"].append(["!", "!"])),
    "merge of three": tokenizer(lambda content: content["model"]["merges"].append(["a", "b", "c"])),
    "unknown model": tokenizer(lambda content: content["model"].update(type="Magic")),
    "unknown pre-tokenizer": tokenizer(lambda content: content.update(pre_tokenizer={"type": "Python", "code": "1"})),
    "unknown decoder": tokenizer(lambda content: content.update(decoder={"type": "Eval"})),
    "bad regex": tokenizer(lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "(("})),
    "regex of 10^9 repeats": tokenizer(
        lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "((a{1000}){1000}){1000}"})),
    "regex nested": tokenizer(
        lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "(" * 50000 + ")" * 50000})),
}


@pytest.mark.parametrize("change", BAD_TOKENIZERS.values(), ids=BAD_TOKENIZERS)
def test_a_damaged_tokenizer_is_named(watched, model, change):
    change(model)
    refused(watched, model, "tokenizer.json")


@pytest.mark.parametrize("content", ["[]", "{", "[" * 10**5, '{"bos_token": 5}', '{"added_tokens_decoder": []}',
                                     '{"chat_template": 5}'], ids=lambda text: text[:20])
def test_a_damaged_tokenizer_configuration_is_named(watched, model, content):
    (model.path / "chat_template.jinja").unlink()
    model.write("tokenizer_config.json", content)
    refused(watched, model, "tokenizer_config.json")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(?:a*)*b", "(a*)*(?=b)", r"(\w+\s?)*$(?<=x)"])
def test_a_catastrophic_regex_ends_in_time(watched, model, pattern):
    tokenizer(lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": pattern}))(model)
    text = "a" * 4000 + "!"
    lines = json.dumps({"prompt": text, "max_tokens": 1}) + "\n" + QUESTION
    code, out, err = watched("run", model.path, "--prompts-file", "-", "--json", "--max-model-len", "500", stdin=lines)
    assert code == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert answers[0]["error"]["type"] == "invalid_request_error"
    assert len(answers[1]["token_ids"]) == 2


def test_tokens_beyond_the_embedding_are_the_requests_error(watched, model):
    """A tokenizer with more tokens than the embedding has rows."""
    content = model.read("tokenizer.json")
    content["added_tokens"].append({**content["added_tokens"][-1], "content": "<|beyond|>", "id": 472})
    model.write("tokenizer.json", content)
    lines = "".join(json.dumps({"prompt": text, "max_tokens": 2}) + "\n" for text in ("a <|beyond|> b", "a b"))
    code, out, err = watched("run", model.path, "--prompts-file", "-", "--json", stdin=lines)
    assert code == 0, err
    bad, good = [json.loads(line) for line in out.splitlines()]
    if "error" in bad:
        assert bad["error"]["param"] == "prompt"
    else:
        assert max(bad["prompt_token_ids"]) < 472
    assert len(good["token_ids"]) == 2


# --- chat templates ---

BAD_TEMPLATES = {
    "calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "calls itself twice": "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops": "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "huge power": "{{ 9**9**9 }}",
    "huge text": "{{ 'x' * 10**10 }}",
    "huge list": "{{ ([0] * 10**10) | length }}",
    "doubling": "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "padding": "{{ 'x'.ljust(10**10) }}",
    "indent": "{{ 'x\\n' | indent(10**9) }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "replace": "{{ ('x' * 30000).replace('x', 'x' * 30000) }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals by filter": "{{ messages | attr('__class__') }}",
    "include": "{% include '/etc/passwd' %}",
    "include own": "{% include 'config.json' %}",
    "import": "{% import 'os' as os %}{{ os.popen('id').read() }}",
    "extends": "{% extends '/etc/passwd' %}",
    "debug": "{{ debug() }}",
    "syntax": "{% if %}",
    "unclosed": "{% for m in messages %}",
    "raise": "{{ raise_exception('only poems') }}",
    "raise lines": "{{ raise_exception('two\nlines') }}",
    "divide": "{{ 1 // 0 }}",
    "index": "{{ messages[9].content }}",
    "deep": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "deep list": "{{ " + "[" * 20000 + "]" * 20000 + " }}",
    "many filters": "{{ 'x'" + " | upper" * 50000 + " }}",
    "deep if": "{% if true %}" * 20000 + "{% endif %}" * 20000,
    "deep value": "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}",
}
HARMLESS = {"globals", "class", "globals by filter", "debug", "index", "many filters", "deep if"}


@pytest.mark.parametrize("name", BAD_TEMPLATES)
@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_hostile_template_ends_as_an_error(watched, model, name, place):
    """Refused when it is read, or the request's error when it is rendered; nothing of this machine in the text."""
    if place == "chat_template.jinja":
        model.write(place, BAD_TEMPLATES[name])
    else:
        (model.path / "chat_template.jinja").unlink()
        model.write(place, {**model.read(place), "chat_template": BAD_TEMPLATES[name]})
    chat = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    for verb in ("run", "tokenize"):
        source = ["--prompts-file", "-", "--json"] if verb == "run" else ["--input-file", "-"]
        line = chat if verb == "run" else {"messages": chat["messages"]}
        code, out, err = watched(verb, model.path, *source, stdin=json.dumps(line) + "\n")
        assert "root:" not in out and "Qwen3ForCausalLM" not in out and "uid=" not in out
        if code != 0:
            assert code == 1 and re.fullmatch(r"error: [^\n]*" + re.escape(place) + r"[^\n]+\n", err), err
            continue
        (answer,) = [json.loads(text) for text in out.splitlines()]
        if name not in HARMLESS:
            assert answer["error"]["type"] == "invalid_request_error", answer
            assert answer["error"]["param"] == "messages"
