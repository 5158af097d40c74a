"""Completes a checkpoint to a whole model directory and records what asking it gives."""

import json
import shutil

import torch
from transformers import AutoTokenizer

from checkpoint_golden import digits, load
from conversations import TOOLS, system, user

QUESTIONS = [
    {"prompt": "The quick brown fox"},
    {"prompt": "<|im_start|>user\nmarked as a chat<|im_end|>\n<|im_start|>assistant\n"},
    {"prompt_token_ids": [10, 200, 300, 466, 7]},
    {"messages": [user("Größe? 今日 😀")]},
    {"messages": [system("Be brief."), user("Weather in Oslo?")], "tools": TOOLS[:1]},
]
NEW_TOKENS = 32


def prompt_ids(tokenizer, question):
    if "prompt" in question:
        return tokenizer(question["prompt"])["input_ids"]
    if "messages" in question:
        text = tokenizer.apply_chat_template(
            question["messages"],
            tools=question.get("tools"),
            tokenize=False,
            add_generation_prompt=True,
        )
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    return question["prompt_token_ids"]


@torch.inference_mode()
def make_run(directory, tokenizer_directory):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(tokenizer_directory / name, directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = load(directory, torch.float32)
    model.generation_config.eos_token_id = None
    with open(directory / "run.jsonl", "w") as out:
        for question in QUESTIONS:
            ids = prompt_ids(tokenizer, question)
            answer = model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=NEW_TOKENS,
                pad_token_id=0,
                return_dict_in_generate=True,
                output_logits=True,
            )
            new = answer.sequences[0, len(ids) :].tolist()
            rows = torch.log_softmax(torch.stack([row[0].double() for row in answer.logits]), -1)
            best = rows.topk(2, dim=-1).values
            line = {
                "question": question,
                "prompt_token_ids": ids,
                "token_ids": new,
                "logprobs": digits(rows.gather(1, torch.tensor(new)[:, None])[:, 0]),
                "margins": digits(best[:, 0] - best[:, 1]),
                "text": tokenizer.decode(new, skip_special_tokens=True),
            }
            out.write(json.dumps(line) + "\n")
            print(f"run: {len(ids)} + {len(new)} tokens, least margin {min(line['margins']):.1e}")
