"""Writes one tiny checkpoint as a Hugging Face directory and what transformers computes from it."""

import copy
import hashlib
import json
import platform
import shutil
import tempfile
from pathlib import Path

import numpy
import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from checkpoint_cases import MODEL_TYPES

PROMPT_LENGTHS = (1, 7, 17, 40, 70)
FINAL_LOGITS_OF = 17  # the prompt whose last full row of logits is kept
GREEDY_TOKENS = 24
TOP = 5
# What a case calls different must differ by this much somewhere: 100 times what parity allows.
MIN_CONTRAST = 1e-2


# --- config.json in the layouts that are in use ---------------------------------------------------


def split_rope_edits(drops):
    """Drops may name fields inside rope: 'rope:key' removes one, 'rope:+key=value' adds one."""
    edits = [d[5:] for d in drops if d.startswith("rope:")]
    return [d for d in drops if not d.startswith("rope:")], edits


def edited_rope(rope, edits):
    rope = dict(rope)
    for edit in edits:
        if edit.startswith("+"):
            key, value = edit[1:].split("=")
            rope[key] = json.loads(value)
        else:
            del rope[edit]
    return rope


def legacy_config(case, type_key="rope_type", extra=None, drops=()):
    """rope_theta and rope_scaling at top level, torch_dtype: what transformers 4 wrote."""
    drops, edits = split_rope_edits(drops)
    rope = edited_rope(case.rope, edits)
    config = dict(
        architectures=[case.architecture],
        model_type=MODEL_TYPES[case.architecture],
        attention_dropout=0.0,
        initializer_range=0.02,
        use_cache=True,
        **case.config,
        torch_dtype=case.dtype,
        transformers_version="4.51.3",
    )
    if case.rope_theta is not None:
        config["rope_theta"] = case.rope_theta
    if rope:
        config["rope_scaling"] = {(type_key if k == "rope_type" else k): v for k, v in rope.items()}
    else:
        config["rope_scaling"] = None
    config.update(extra or {})
    return {k: v for k, v in sorted(config.items()) if k not in drops}


def new_config(case, overrides=None):
    """rope_parameters and dtype: what transformers 5 writes."""
    overrides = dict(overrides or {})
    rope = dict(overrides.pop("rope", case.rope) or {})
    rope.setdefault("rope_type", "default")
    if case.rope_theta is not None:
        rope.setdefault("rope_theta", case.rope_theta)
    config = dict(
        architectures=[case.architecture],
        model_type=MODEL_TYPES[case.architecture],
        attention_dropout=0.0,
        initializer_range=0.02,
        use_cache=True,
        **case.config,
        dtype=case.dtype,
        rope_parameters=rope,
        transformers_version="5.17.0",
    )
    config.update(overrides)
    return dict(sorted(config.items()))


def all_configs(case):
    """File name -> content. Every file of a case means the same model."""
    configs = {"config.json": legacy_config(case), "config.rope_parameters.json": new_config(case)}
    if case.rope:
        configs["config.legacy_type.json"] = legacy_config(case, type_key="type")
    for name, (extra, drops) in case.variants.items():
        configs[f"config.{name}.json"] = legacy_config(case, extra=extra, drops=drops)
    return configs


# --- weights --------------------------------------------------------------------------------------

GAINS = {
    "q_proj": 1.6,
    "k_proj": 1.6,
    "v_proj": 1.2,
    "o_proj": 1.2,
    "gate_proj": 1.3,
    "up_proj": 1.3,
    "down_proj": 1.3,
    "lm_head": 2.5,
}


def random_weight(name, shape, tied, generator):
    """Scales that keep every part audible: sharp attention, logits some units apart."""
    noise = torch.randn(shape, generator=generator)
    if name.endswith("norm.weight"):
        return 1.0 + 0.25 * noise
    if name.endswith(".bias"):
        return 0.4 * noise
    if "embed_tokens" in name:
        # Tied, the table is also the output layer: small, or every token would predict itself.
        return noise * (0.25 if tied else 0.7)
    for part, gain in GAINS.items():
        if part in name:
            return noise * gain / shape[1] ** 0.5
    raise ValueError(f"no scale for {name}")


def make_weights(case, config):
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    seed = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:4], "little")
    generator = torch.Generator().manual_seed(seed)
    tied = case.config["tie_word_embeddings"]
    dtype = getattr(torch, case.dtype)
    weights = {}
    for name, tensor in sorted(skeleton.state_dict().items()):
        if tied and name == "lm_head.weight":
            continue
        weights[name] = (
            random_weight(name, tuple(tensor.shape), tied, generator).to(dtype).contiguous()
        )
    return weights


def write_weights(directory, weights, shards):
    if shards == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    index = {}
    for shard in range(shards):
        file_name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {n: weights[n] for n in names[shard::shards]}
        save_file(part, directory / file_name, metadata={"format": "pt"})
        index.update({n: file_name for n in part})
    total = sum(w.numel() * w.element_size() for w in weights.values())
    dump(
        directory / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))},
    )


# --- what transformers computes -------------------------------------------------------------------


def load(directory, dtype):
    """A fresh model each time: dynamic RoPE keeps the longest length seen as state."""
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=dtype, attn_implementation="eager"
    )
    return model.eval()


@torch.inference_mode()
def prompt_logits(directory, dtype, token_ids):
    return load(directory, dtype)(torch.tensor([token_ids])).logits[0].double()


@torch.inference_mode()
def greedy(directory, token_ids):
    """transformers' own generate, with its cache. Past the original length of dynamic RoPE, keys
    that are already cached keep the frequencies of their step; that is part of what is recorded."""
    model = load(directory, torch.float32)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    out = model.generate(
        torch.tensor([token_ids]),
        attention_mask=torch.ones(1, len(token_ids), dtype=torch.long),
        do_sample=False,
        max_new_tokens=GREEDY_TOKENS,
        min_new_tokens=GREEDY_TOKENS,
        use_cache=True,
        return_dict_in_generate=True,
        output_logits=True,
    )
    ids = out.sequences[0, len(token_ids) :].tolist()
    rows = torch.stack([row[0].double() for row in out.logits])
    best = rows.topk(2, dim=-1)
    assert best.indices[:, 0].tolist() == ids
    logprobs = torch.log_softmax(rows, -1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    return {
        "token_ids": ids,
        "logprobs": digits(logprobs),
        "margins": digits(best.values[:, 0] - best.values[:, 1]),
    }


def digits(values):
    return [float(f"{float(v):.9g}") for v in values]


def prompt_entry(directory, token_ids):
    logits = prompt_logits(directory, torch.float32, token_ids)
    logprobs = torch.log_softmax(logits, -1)
    next_ids = torch.tensor(token_ids[1:], dtype=torch.long)
    top = logprobs.topk(TOP, dim=-1)
    rows = [
        [[i, v] for i, v in zip(ids.tolist(), digits(values))]
        for ids, values in zip(top.indices, top.values)
    ]
    entry = {
        "token_ids": token_ids,
        "prompt_logprobs": [None] + digits(logprobs[:-1].gather(1, next_ids[:, None])[:, 0]),
        "prompt_top": [None] + rows[:-1],
        "next_top": rows[-1],
        "greedy": greedy(directory, token_ids),
    }
    if len(token_ids) == FINAL_LOGITS_OF:
        entry["final_logits"] = digits(logits[-1])
    return entry


def own_error(directory, prompts, dtype, truth):
    """How far a run in `dtype` is from `truth` (the fp32 run), over log-probabilities."""
    chosen, everything = [], []
    for token_ids, reference in zip(prompts, truth):
        error = (
            torch.log_softmax(prompt_logits(directory, dtype, token_ids), -1) - reference
        ).abs()
        everything.append(error.flatten())
        chosen.append(
            error[:-1].gather(1, torch.tensor(token_ids[1:], dtype=torch.long)[:, None]).flatten()
        )
    chosen, everything = torch.cat(chosen), torch.cat(everything)
    return {
        "prompt_logprobs_max": digits([chosen.max()])[0],
        "logprobs_max": digits([everything.max()])[0],
        "logprobs_rms": digits([everything.square().mean().sqrt()])[0],
    }


# --- checks that keep a case honest ---------------------------------------------------------------


def with_config(directory, config):
    """A copy of the checkpoint with another config.json."""
    copied = Path(tempfile.mkdtemp())
    for file in directory.glob("model*"):
        shutil.copy(file, copied)
    dump(copied / "config.json", config)
    return copied


def largest_change(directory, config, prompts, truth):
    copied = with_config(directory, config)
    try:
        return max(
            float((torch.log_softmax(prompt_logits(copied, torch.float32, p), -1) - t).abs().max())
            for p, t in zip(prompts, truth)
        )
    finally:
        shutil.rmtree(copied)


def check(case, directory, configs, prompts, truth):
    for name, config in configs.items():
        change = largest_change(directory, config, prompts, truth)
        assert change == 0, f"{case.name}: {name} changes the result by {change}"
    for contrast in case.contrasts:
        change = largest_change(
            directory, new_config(case, copy.deepcopy(contrast)), prompts, truth
        )
        assert change > MIN_CONTRAST, f"{case.name}: {contrast} changes the result by {change} only"


def dump(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def dump_expected(path, expected):
    """One line a field and prompt, so that a regenerated file can be compared by eye."""
    prompts = expected.pop("prompts")
    head = json.dumps(expected, indent=1)[:-2]
    body = ",\n".join(
        "  {" + ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in p.items()) + "}"
        for p in prompts
    )
    path.write_text(f'{head},\n "prompts": [\n{body}\n ]\n}}\n')


def make_checkpoint(case, root):
    directory = root / case.name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    configs = all_configs(case)
    for name, config in configs.items():
        dump(directory / name, config)
    dump(
        directory / "generation_config.json",
        {
            "bos_token_id": 1,
            "eos_token_id": case.config["eos_token_id"],
            "transformers_version": "4.51.3",
        },
    )
    write_weights(directory, make_weights(case, AutoConfig.from_pretrained(directory)), case.shards)

    rng = numpy.random.default_rng(len(case.name))
    prompts = [rng.integers(0, case.config["vocab_size"], n).tolist() for n in PROMPT_LENGTHS]
    truth = [torch.log_softmax(prompt_logits(directory, torch.float32, p), -1) for p in prompts]
    check(case, directory, configs, prompts, truth)
    expected = {
        "about": case.about,
        "made_with": {
            "transformers": transformers.__version__,
            "torch": torch.__version__.split("+")[0],
            "numpy": numpy.__version__,
            "python": platform.python_version(),
            "attention": "eager",
            "device": "cpu",
        },
        "sha256": {
            f.name: hashlib.sha256(f.read_bytes()).hexdigest()
            for f in sorted(directory.iterdir())
            if f.name != "expected.json"
        },
        "configs": sorted(configs),
        "own_error": {
            dtype: own_error(directory, prompts, getattr(torch, dtype), truth)
            for dtype in ("bfloat16", "float16", "float64")
        },
        "prompts": [prompt_entry(directory, p) for p in prompts],
    }
    margins = [m for p in expected["prompts"] for m in p["greedy"]["margins"]]
    distinct = len({t for p in expected["prompts"] for t in p["greedy"]["token_ids"]})
    print(
        f"{case.name:32s} bf16 own error "
        f"{expected['own_error']['bfloat16']['prompt_logprobs_max']:.4f}  fp64 "
        f"{expected['own_error']['float64']['logprobs_max']:.1e}  least margin {min(margins):.1e}  "
        f"{distinct} distinct greedy tokens",
        flush=True,
    )
    dump_expected(directory / "expected.json", expected)
