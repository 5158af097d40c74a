#!/usr/bin/env python3
"""Makes everything under tests/golden again.

    pip install torch transformers==5.17.0 numpy safetensors tokenizers==0.23.* jinja2
    python tests/golden/make_goldens.py [checkpoints] [templates] [tokenizers] [runs] [NAME...]

Without arguments everything is made. The seeds are fixed: the same versions give the same files.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))


def make_checkpoints(names):
    import torch
    import transformers
    from checkpoint_cases import CASES
    from checkpoint_golden import make_checkpoint

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for case in CASES:
        if not names or case.name in names:
            make_checkpoint(case, ROOT / "checkpoints")


def make_templates(names):
    from template_golden import make_templates

    make_templates(ROOT / "templates", names)


def make_tokenizers(names):
    from template_golden import make_tokenizer_chats, tokenizer_templates
    from tokenizer_golden import make_tokenizers

    templates = tokenizer_templates(ROOT / "templates")
    make_tokenizers(ROOT / "tokenizers", names, templates)
    make_tokenizer_chats(ROOT / "tokenizers", names, templates)


def make_runs(names):
    from run_golden import make_run

    make_run(ROOT / "checkpoints" / "qwen3-chat-bf16", ROOT / "tokenizers" / "qwen2")


PARTS = {
    "checkpoints": make_checkpoints,
    "templates": make_templates,
    "tokenizers": make_tokenizers,
    "runs": make_runs,
}


def main(arguments):
    parts = [a for a in arguments if a in PARTS] or list(PARTS)
    names = [a for a in arguments if a not in PARTS]
    for part in parts:
        PARTS[part](names)


if __name__ == "__main__":
    main(sys.argv[1:])
