"""Chat rendering for training: the text of chat_template.jinja, turn by turn."""

import json

IM_START, IM_END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
TOOLS_HEAD = "You can call these tools:\n<tools>\n"
TOOLS_TAIL = (
    "</tools>\nTo call one, answer with <tool_call>\n"
    '{"name": ..., "arguments": {...}}\n</tool_call>'
)


def tool_line(tool):
    return json.dumps(tool.get("function", tool), ensure_ascii=False)


def system_text(messages, tools):
    """The system turn's content, or None when there is none."""
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
    if not tools:
        return system
    head = system + "\n\n" if system else ""
    return head + TOOLS_HEAD + "".join(tool_line(t) + "\n" for t in tools) + TOOLS_TAIL


def segments(messages, tools=None):
    """(role, content, letters) of each turn in order; the role `tool` is shown to the model as a
    user turn.
    """
    system = system_text(messages, tools)
    if system is not None:
        yield "system", system, False
    for message in messages:
        if message["role"] == "system":
            continue
        if message["role"] == "tool":
            yield "user", "<tool_response>\n" + message["content"] + "\n</tool_response>", False
        else:
            yield message["role"], message["content"], message.get("letters", False)


def prompt_text(messages, tools=None):
    turns = "".join(
        f"{IM_START}{role}\n{content}{IM_END}\n" for role, content, _ in segments(messages, tools)
    )
    return turns + f"{IM_START}assistant\n"
