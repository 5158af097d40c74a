"""Renders every template with every conversation the way transformers does."""

import json

import jinja2
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from conversations import CONVERSATIONS, TOOLS, system, user

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class WrittenDate:
    """Stands for the clock: a date becomes @{format}, which a test replaces by its own strftime."""

    @staticmethod
    def now():
        return WrittenDate()

    def strftime(self, format):
        return "@{" + format + "}"


def outcome(render):
    try:
        return {"text": render()}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"raised": str(error)}
        return {"failed": f"{type(error).__name__}: {error}"}
    except (TypeError, ZeroDivisionError, KeyError) as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def rendered(template, conversation, add_generation_prompt, special_tokens):
    kwargs = dict(conversation.get("chat_template_kwargs", {}))
    texts, _ = chat_template_utils.render_jinja_template(
        conversations=[conversation["messages"]],
        tools=conversation.get("tools"),
        documents=kwargs.pop("documents", None),
        chat_template=template,
        add_generation_prompt=add_generation_prompt,
        **special_tokens,
        **kwargs,
    )
    return texts[0]


def make_templates(directory, names):
    chat_template_utils.datetime = WrittenDate
    lines = []
    for file in sorted(directory.glob("*.jinja")):
        if names and file.stem not in names:
            continue
        template = file.read_text()
        found = {"text": 0, "raised": 0, "failed": 0}
        for name, conversation in CONVERSATIONS.items():
            if name.startswith("error: ") and file.stem != "raises":
                continue
            for add_generation_prompt in (False, True):
                result = outcome(
                    lambda: rendered(template, conversation, add_generation_prompt, SPECIAL_TOKENS)
                )
                found[next(iter(result))] += 1
                lines.append(
                    {
                        "template": file.name,
                        "conversation": name,
                        "add_generation_prompt": add_generation_prompt,
                        **result,
                    }
                )
        assert found["text"] > 2, f"{file.name} hardly ever renders"
        print(f"{file.name:28s} {found}")
    if names:
        return
    (directory / "conversations.json").write_text(json.dumps(CONVERSATIONS, indent=1) + "\n")
    with open(directory / "expected.jsonl", "w") as out:
        for line in lines:
            out.write(json.dumps(line) + "\n")


# Which tokenizer directory carries which template, and where.
def tokenizer_templates(directory):
    def text(name):
        return (directory / f"{name}.jinja").read_text()

    return {
        "qwen2": {"file": text("qwen25-tools")},
        "llama3": {
            "file": text("llama31-tools"),
            "config": "chat_template.jinja wins over this text",
        },
        "llama2": {"config": text("llama2-inst")},
        "mistral": {
            "config": [
                {"name": "default", "template": text("llama2-inst")},
                {"name": "tool_use", "template": text("mistral-strict")},
            ]
        },
        "single-digits": {"file": text("chatml")},
        "gemma": {"config": text("gemma-turns")},
    }


FIXED_DATE = {"date_string": "1 Jan 2025"}
CHATS = [
    dict(messages=[user("How far is the Moon, in km?")]),
    dict(messages=[system("Be brief."), user("Größe? 今日 😀")]),
    dict(messages=[system("Be brief."), user("Weather in Oslo?")], tools=TOOLS),
]


def chat_text(tokenizer, conversation, add_generation_prompt):
    return tokenizer.apply_chat_template(
        conversation["messages"],
        tools=conversation.get("tools"),
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        **FIXED_DATE,
    )


def special_ids(tokenizer, ids):
    special = {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    return [i for i in ids if i in special]


def make_tokenizer_chats(root, names, templates):
    """Rendered text and ids for the directories that carry a template. In the last line the user
    spells every special token out: the ids must hold the template's own special tokens
    (special_ids) and no other.
    """
    for name in templates:
        if names and name not in names:
            continue
        tokenizer = AutoTokenizer.from_pretrained(root / name)
        lines = []
        for conversation in CHATS:
            for add_generation_prompt in (False, True):
                result = outcome(lambda: chat_text(tokenizer, conversation, add_generation_prompt))
                if "text" in result:
                    result["token_ids"] = tokenizer(result["text"], add_special_tokens=False)[
                        "input_ids"
                    ]
                lines.append(
                    {
                        **conversation,
                        "chat_template_kwargs": FIXED_DATE,
                        "add_generation_prompt": add_generation_prompt,
                        **result,
                    }
                )
        neutral = chat_text(tokenizer, {"messages": [user("HERE")]}, True)
        spelled = "".join(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
        lines.append(
            {
                "messages": [user(spelled)],
                "chat_template_kwargs": FIXED_DATE,
                "add_generation_prompt": True,
                "text": neutral.replace("HERE", spelled),
                "special_ids": special_ids(
                    tokenizer, tokenizer(neutral, add_special_tokens=False)["input_ids"]
                ),
            }
        )
        with open(root / name / "expected_chat.jsonl", "w") as out:
            for line in lines:
                out.write(json.dumps(line) + "\n")
