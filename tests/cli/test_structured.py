"""Constraints on the answer: what the model writes under them is what they say, judged by jsonschema and re."""

import json
import random
import re

import jsonschema
import pytest

QUESTIONS = ["What is 7 + 8?", "Spell the word tree.", "Ann is 31 and lives in Rome. As JSON.", "hello"]


def lines(constraints, **fields):
    return [
        {"messages": [{"role": "user", "content": QUESTIONS[i % len(QUESTIONS)]}], "seed": i, **fields, **constraint}
        for i, constraint in enumerate(constraints)
    ]


def random_schema(rng, depth=3):
    kind = rng.choice(["string", "integer", "number", "boolean", "null", "enum", "array", "object", "anyOf"])
    if depth == 0 and kind in ("array", "object", "anyOf"):
        kind = "boolean"
    if kind == "string":
        return {
            "type": "string",
            **rng.choice(
                [{"maxLength": rng.randrange(1, 9)}, {"pattern": "^[a-z]{1,4}$"}, {"minLength": 2, "maxLength": 3}]
            ),
        }
    if kind in ("integer", "number"):
        low = rng.randrange(-50, 50)
        return {"type": kind, "minimum": low, "maximum": low + rng.randrange(1, 500)}
    if kind == "enum":
        return {"enum": rng.sample(["a", "b c", 1, 2.5, None, True, 'q"uote', "é"], rng.randrange(1, 5))}
    if kind == "array":
        return {"type": "array", "items": random_schema(rng, depth - 1), "minItems": rng.randrange(2), "maxItems": 3}
    if kind == "anyOf":
        return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randrange(1, 4))]}
    if kind == "object":
        names = rng.sample(["name", "age", "x", "list of", "é"], rng.randrange(1, 4))
        return {
            "type": "object",
            "properties": {name: random_schema(rng, depth - 1) for name in names},
            "required": rng.sample(names, rng.randrange(len(names) + 1)),
            "additionalProperties": False,
        }
    return {"type": kind}


def test_random_schemas_hold(ask):
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    schemas = [random_schema(rng) for _ in range(150)]
    answers = ask(lines([{"structured_outputs": {"json": s}} for s in schemas], max_tokens=400))
    complete = 0
    for schema, answer in zip(schemas, answers):
        assert "error" not in answer, (seed, schema, answer)
        if answer["finish_reason"] == "length":  # digits without end, white space
            continue
        complete += 1
        jsonschema.validate(json.loads(answer["text"]), schema)
    assert complete > 120, seed


def test_response_format_is_as_openai_defines_it(ask):
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    constraint = {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}}
    request = {"messages": [{"role": "user", "content": QUESTIONS[2]}], "temperature": 0}
    (answer,) = ask([{**request, **constraint}])
    assert json.loads(answer["text"]) == {"name": "Ann", "age": 31}
    plain, text = ask([request, {**request, "response_format": {"type": "text"}}])
    assert plain["text"] == text["text"]


@pytest.mark.parametrize(
    "pattern", [r"\d{3}-\d{4}", r"^(yes|no)( please)?$", r"[A-Z][a-z]{2,5}, \w{1,3}\.", r"é{2}[à-ÿ]?", r"a/b\\?"]
)
def test_the_whole_text_matches_the_regex(ask, pattern):
    answers = ask(lines([{"structured_outputs": {"regex": pattern}}] * 12, temperature=1.5, max_tokens=100))
    for answer in answers:
        assert answer["finish_reason"] == "stop"
        assert re.fullmatch(pattern, answer["text"]), answer["text"]


def test_the_text_is_one_of_the_choices(ask):
    choices = ["positive", "negative", "a.b*", "¿qué?", "two words", "two"]
    answers = ask(lines([{"structured_outputs": {"choice": choices}}] * 40, temperature=2))
    assert {answer["text"] for answer in answers} <= set(choices)


@pytest.mark.parametrize(
    "constraint",
    [
        {"structured_outputs": {"json": {"type": "text"}}},
        {"structured_outputs": {"json": {"$ref": "#/nowhere"}}},
        {"structured_outputs": {"json": "{"}},
        {"structured_outputs": {"regex": "(a"}},
        {"structured_outputs": {"regex": "a{1000000000}"}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"grammar": "start: x"}},
        {"structured_outputs": {"regex": "a", "choice": ["a"]}},
        {"structured_outputs": {"xml": "a"}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema"}},
    ],
)
def test_a_constraint_that_cannot_be_met_names_its_field(ask, constraint):
    bad, good = ask(lines([constraint, {"structured_outputs": {"choice": ["ok"]}}]))
    assert bad["error"]["code"] == "invalid_argument"
    assert bad["error"]["param"] == next(iter(constraint))
    assert good["text"] == "ok"
