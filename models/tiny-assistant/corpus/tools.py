"""Tool calls: choose among the tools given, fill the arguments, and report a tool's result."""

import json

from .extract import fresh_word, value
from .text import decorate, expand, fill, held, pick
from .tool_data import CURRENCIES, DISTRACTOR_TEXTS, GENERIC_ASK, GENERIC_HELD, TOOLS
from .words import ROOMS

VERBS = """get set make find send open check start stop add move read show load pick fix turn push
pull sort""".split()
NUMERIC = {"minutes", "quantity", "price", "hour", "people", "x", "y"}


def _value(rng, split, kind):
    if kind in ("minutes", "people"):
        return rng.randrange(2, 20) if kind == "people" else rng.randrange(1, 121)
    if kind in ("x", "y"):
        return rng.randrange(2, 1000)
    if kind == "room":
        return fresh_word(rng, split) if rng.random() < 0.25 else pick(rng, ROOMS)
    if kind == "state":
        return pick(rng, ["on", "off"])
    if kind == "op":
        return pick(rng, ["multiply", "divide"])
    if kind == "currency":
        return fresh_word(rng, split) if rng.random() < 0.2 else pick(rng, CURRENCIES)
    if kind == "word":
        return fresh_word(rng, split) + (" " + fresh_word(rng, split) if rng.random() < 0.3 else "")
    if kind == "text":
        if rng.random() < 0.5:
            return pick(rng, DISTRACTOR_TEXTS)
        return " ".join(fresh_word(rng, split) for _ in range(rng.randrange(2, 5)))
    return value(rng, split, kind)


def made_up_name(rng, split):
    """A tool name nobody knows: verb_word, word_word or one word."""
    r = rng.random()
    if r < 0.4:
        return pick(rng, VERBS) + "_" + fresh_word(rng, split)
    if r < 0.75:
        return fresh_word(rng, split) + "_" + fresh_word(rng, split)
    return fresh_word(rng, split)


def _schema(name, description, properties):
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            },
        },
    }


def known_tool(rng, split, tool, renamed):
    """(schema, argument name by slot) of one of the tools of tool_data."""
    name = made_up_name(rng, split) if renamed else pick(rng, tool["names"])
    names, properties = {}, {}
    with_text = rng.random() < 0.4
    for kind, (default, aliases, text) in tool["args"].items():
        names[kind] = default if rng.random() < 0.4 else pick(rng, aliases)
        properties[names[kind]] = {"type": "integer" if kind in NUMERIC else "string"}
        if with_text:
            properties[names[kind]]["description"] = text
    return _schema(name, pick(rng, tool["descriptions"]), properties), names


def made_up_tool(rng, split):
    """A tool whose purpose is unknown: the request names it and its arguments."""
    name = made_up_name(rng, split)
    properties = {}
    while len(properties) < rng.randrange(1, 4):
        properties[fresh_word(rng, split)] = {"type": "integer" if rng.random() < 0.4 else "string"}
    description = " ".join(fresh_word(rng, split) for _ in range(rng.randrange(2, 5))).capitalize()
    return _schema(name, description, properties)


def _offer(rng, split, schema, exclude, renamed):
    """The right tool among up to three others, in random order."""
    offered, taken = [schema], {schema["function"]["name"]}
    for _ in range(pick(rng, [0, 1, 1, 2, 2, 3])):
        if renamed and rng.random() < 0.5:
            other = made_up_tool(rng, split)
        else:
            tool = pick(rng, TOOLS)
            if tool is exclude:
                continue
            other, _ = known_tool(rng, split, tool, renamed and rng.random() < 0.5)
        if other["function"]["name"] not in taken:
            taken.add(other["function"]["name"])
            offered.append(other)
    rng.shuffle(offered)
    return offered


def call_text(name, arguments):
    return (
        "<tool_call>\n"
        + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
        + "\n</tool_call>"
    )


def _arguments_text(rng, arguments):
    style = pick(
        rng,
        [
            "{k} {v}",
            "{k} {v}",
            "{k}={v}",
            "{k} = {v}",
            "{k}: {v}",
            "{k} set to {v}",
            "{k} as {v}",
            "{k} is {v}",
        ],
    )
    parts = [style.replace("{k}", k).replace("{v}", str(v)) for k, v in arguments.items()]
    if rng.random() < 0.3:
        rng.shuffle(parts)
    return (
        parts[0]
        if len(parts) == 1
        else ", ".join(parts[:-1]) + pick(rng, [" and ", ", "]) + parts[-1]
    )


def _request_known(rng, split, renamed):
    tool = pick(rng, TOOLS)
    while True:
        values = {kind: _value(rng, split, kind) for kind in tool["args"]}
        if held(repr(sorted(values.items())), 8) == split.want_held:
            break
    schema, names = known_tool(rng, split, tool, renamed)
    template = expand(rng, pick(rng, split.templates(tool["ask"], tool["heldout"])))
    prompt = fill(decorate(rng, template, noise=split.train, plain=0.6), values)
    return prompt, schema, {names[k]: v for k, v in values.items()}, tool


def _request_made_up(rng, split):
    schema = made_up_tool(rng, split)
    function = schema["function"]
    arguments = {}
    for key, spec in function["parameters"]["properties"].items():
        arguments[key] = (
            rng.randrange(0, 1000) if spec["type"] == "integer" else fresh_word(rng, split)
        )
    template = expand(rng, pick(rng, split.templates(GENERIC_ASK, GENERIC_HELD)))
    template = decorate(rng, template, noise=split.train, plain=0.6)
    return (
        fill(template, {"tool": function["name"], "args": _arguments_text(rng, arguments)}),
        schema,
        arguments,
        None,
    )


def _result_turns(rng, split, content):
    """After the call: a flat JSON result, and the answer that reports it."""
    result = {}
    while len(result) < rng.randrange(1, 4):
        key = pick(
            rng,
            [
                "result",
                "status",
                "value",
                "temperature",
                "time",
                "sky",
                "message",
                "id",
                "total",
                fresh_word(rng, split),
            ],
        )
        result[key] = rng.randrange(0, 1000) if rng.random() < 0.5 else fresh_word(rng, split)
    answer = "Here is the result: " + ", ".join(f"{k} is {v}" for k, v in result.items()) + "."
    return [
        {"role": "tool", "content": json.dumps(result)},
        {"role": "assistant", "content": answer},
    ]


def _example(rng, split, skill, request, renamed):
    prompt, schema, arguments, tool = request
    content = call_text(schema["function"]["name"], arguments)
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": content}]
    if rng.random() < 0.15:
        messages += _result_turns(rng, split, content)
    return {
        "skill": skill,
        "messages": messages,
        "tools": _offer(rng, split, schema, tool, renamed),
    }


def tools(rng, split):
    example = _example(rng, split, "tools", _request_known(rng, split, False), False)
    if split.train and rng.random() < 0.12:  # a second request in the same chat
        prompt, schema, arguments, _ = _request_known(rng, split, False)
        function = schema["function"]
        if function["name"] not in [t["function"]["name"] for t in example["tools"]]:
            example["tools"].insert(rng.randrange(len(example["tools"]) + 1), schema)
            example["messages"] += [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": call_text(function["name"], arguments)},
            ]
    return example


def tools_unseen(rng, split):
    """Tools under names never seen: a known purpose renamed, or a tool that only its schema
    describes.
    """
    request = (
        _request_known(rng, split, True) if rng.random() < 0.5 else _request_made_up(rng, split)
    )
    return _example(rng, split, "tools_unseen", request, True)


def tools_not_needed(rng, split, other):
    """Another skill's chat with tools on offer that do not help: the answer stays the plain one."""
    first = pick(
        rng, [t for t in TOOLS if t["names"][0] not in ("calculator", "search", "get_time")]
    )
    schema, _ = known_tool(rng, split, first, rng.random() < 0.4)
    return {**other, "tools": [schema]}
