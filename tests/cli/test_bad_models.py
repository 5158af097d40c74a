"""No config.json and no weights crash the program, keep it busy, or make it read elsewhere."""

import json
import math
import os
import re
import struct
import subprocess

import pytest

from model_dir import QUESTION, ModelDir, refused


def test_the_checkpoint_itself_is_good(watched, model):
    code, out, err = watched("run", model.path, "--prompts-file", "-", "--json", stdin=QUESTION)
    assert code == 0, err
    assert len(json.loads(out)["token_ids"]) == 2
    assert watched("inspect", model.path)[0] == 0
    assert watched("tokenize", model.path, "hi")[0] == 0


# --- config.json ---

BAD_FIELDS = {
    "layers 2^31": {"num_hidden_layers": 2**31},
    "layers 0": {"num_hidden_layers": 0},
    "layers fractional": {"num_hidden_layers": 2.5},
    "layers beyond the file": {"num_hidden_layers": 3},
    "layers many": {"num_hidden_layers": 4000},
    "vocabulary 2^40": {"vocab_size": 2**40},
    "vocabulary 0": {"vocab_size": 0},
    "vocabulary beyond the file": {"vocab_size": 500},
    "heads 0": {"num_attention_heads": 0},
    "heads -1": {"num_attention_heads": -1},
    "heads 7": {"num_attention_heads": 7},
    "heads text": {"num_attention_heads": "4"},
    "kv heads 3": {"num_key_value_heads": 3},
    "kv heads 0": {"num_key_value_heads": 0},
    "head_dim 15": {"head_dim": 15},
    "head_dim 2^40": {"head_dim": 2**40},
    "hidden 0": {"hidden_size": 0},
    "hidden -48": {"hidden_size": -48},
    "hidden 2^63": {"hidden_size": 2**63},
    "hidden 2^64": {"hidden_size": 2**64},
    "hidden null": {"hidden_size": None},
    "hidden other": {"hidden_size": 64},
    "intermediate 2^20": {"intermediate_size": 2**20},
    "eps NaN": {"rms_norm_eps": math.nan},
    "eps infinite": {"rms_norm_eps": math.inf},
    "eps negative": {"rms_norm_eps": -1e-6},
    "eps text": {"rms_norm_eps": "1e-6"},
    "activation unknown": {"hidden_act": "swiglu_oai"},
    "activation number": {"hidden_act": 3},
    "positions 0": {"max_position_embeddings": 0},
    "positions 2^62": {"max_position_embeddings": 2**62},
    "theta 0": {"rope_theta": 0},
    "theta text": {"rope_theta": "big"},
    "eos beyond": {"eos_token_id": 99999},
    "eos negative": {"eos_token_id": -1},
    "dtype unknown": {"torch_dtype": "float8_e4m3fn"},
    "tie text": {"tie_word_embeddings": "yes"},
}


# Possible by themselves: it is the tensors, or another field, that do not fit.
ELSEWHERE = {
    "layers beyond the file": ("model.safetensors", "model.layers.2."),
    "layers many": ("model.safetensors", "model.layers.2."),
    "vocabulary beyond the file": ("model.safetensors", "model.embed_tokens.weight"),
    "hidden other": ("model.safetensors", "model."),
    "intermediate 2^20": ("model.safetensors", "mlp."),
    "heads 7": ("config.json", "num_key_value_heads: 2 does not divide the 7 heads"),
    "eps NaN": ("config.json", "JSON"),
    "eps infinite": ("config.json", "JSON"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_a_bad_field_is_named(watched, model, name):
    model.config(**BAD_FIELDS[name])
    (field,) = BAD_FIELDS[name]
    refused(watched, model, *ELSEWHERE.get(name, ("config.json", field)))


UNSUPPORTED = {
    "longrope": {"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}},
    "su": {"rope_scaling": {"type": "su", "factor": 2.0}},
    "mrope": {"rope_scaling": {"type": "default", "mrope_section": [4, 2, 2]}},
    "rope kind": {"rope_scaling": {"rope_type": "ntk-by-moon", "factor": 2.0}},
    "rope parameters kind": {"rope_parameters": {"rope_type": "proportional", "rope_theta": 1e4}},
    "rope text": {"rope_scaling": "linear"},
    "attention softcapping": {"attn_logit_softcapping": 50.0},
    "final softcapping": {"final_logit_softcapping": 30.0},
    "quantization": {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    "experts": {"num_experts": 8},
    "local experts": {"num_local_experts": 8},
    "routed experts": {"n_routed_experts": 64},
    "partial rotary scaled": {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5}},
    "partial rotary above 1": {"partial_rotary_factor": 2.0},
    "chunked attention": {"attention_chunk_size": 128},
    "alibi": {"alibi": True},
    "logit scale": {"logit_scale": 0.0625},
    "embedding multiplier": {"embedding_multiplier": 12.0},
    "residual multiplier": {"residual_multiplier": 0.22},
    "encoder-decoder": {"is_encoder_decoder": True},
    "layer kinds": {"layer_types": ["full_attention", "linear_attention"]},
    "layer kinds short": {"layer_types": ["full_attention"]},
    "layer kinds text": {"layer_types": "full_attention"},
}


@pytest.mark.parametrize("fields", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_other_mathematics_is_refused_by_name(watched, model, fields):
    model.config(**fields)
    (field,) = fields
    refused(watched, model, "config.json", field)


@pytest.mark.parametrize("name", ["MixtralForCausalLM", "Qwen3MoeForCausalLM", "Gemma2ForCausalLM", "DeepseekV3ForCausalLM",
                                  "BertModel", "", "../../../etc/passwd", "x" * 5000])
def test_an_unknown_architecture_is_named(watched, model, name):
    model.config(architectures=[name])
    refused(watched, model, "config.json", "architectures")


BAD_CONFIGS = {
    "empty": "",
    "array": "[]",
    "null": "null",
    "empty object": "{}",
    "truncated": '{"architectures": ["Qwen3For',
    "not UTF-8": b'{"model_type": "\xff\xfe"}',
    "NUL": b'{"model_type": "qwen3"\x00}',
    "10^5 nested": "[" * 10**5,
    "10^5 nested objects": '{"a":' * 10**5,
    "16 MiB and more": '{"a": "' + "x" * (17 << 20) + '"}',
    "1e400": '{"model_type": "qwen3", "rope_theta": 1e400}',
    "trailing": '{"model_type": "qwen3"} {}',
    "comment": '{"model_type": "qwen3" /* no */}',
}


@pytest.mark.parametrize(
    "file, name",
    # An empty generation_config.json says nothing, and nothing wrong.
    [("config.json", name) for name in BAD_CONFIGS]
    + [("generation_config.json", name) for name in BAD_CONFIGS if "empty" not in name],
)
def test_a_damaged_configuration_is_named(watched, model, file, name):
    model.write(file, BAD_CONFIGS[name])
    refused(watched, model, file)


def test_a_duplicate_key_is_refused(watched, model):
    text = (model.path / "config.json").read_text()
    model.write("config.json", text.replace("{", '{"vocab_size": 472, ', 1))
    refused(watched, model, "config.json", "vocab_size: duplicate key")


@pytest.mark.parametrize("fields", [{"temperature": "hot"}, {"temperature": -1}, {"top_p": 2}, {"top_k": 1.5}, {"eos_token_id": 9999},
                                    {"eos_token_id": "x"}, {"repetition_penalty": 0}, {"do_sample": "yes"}], ids=str)
def test_a_bad_default_of_generation_is_named(watched, model, fields):
    (field,) = fields
    model.write("generation_config.json", fields)
    refused(watched, model, "generation_config.json", field)


def test_auto_map_runs_no_code_and_is_told(watched, model):
    model.config(auto_map={"AutoModelForCausalLM": "evil.Model"})
    model.write("evil.py", "raise SystemExit('executed')")
    code, out, err = watched("run", model.path, "--prompts-file", "-", "--json", stdin=QUESTION)
    assert code == 0, err
    assert len(json.loads(out)["token_ids"]) == 2
    assert re.fullmatch(r"warning: [^\n]*config\.json: auto_map: [^\n]+\n", err), err
    assert "auto_map" in watched("inspect", model.path)[1]


# --- model.safetensors ---


def first_tensor(header):
    return next(name for name in header if name != "__metadata__")


def edit(change):
    """A change of the header's first tensor."""

    def apply(model):
        header, data = model.tensors()
        change(header, header[first_tensor(header)])
        model.write_tensors(header, data)

    return apply


def raw(content):
    return lambda model: model.write("model.safetensors", content)


def header_text(text):
    return lambda model: model.write_tensors(text, b"\0" * 64)


def overlapping(header, tensor):
    other = [name for name in header if name != "__metadata__"][1]
    header[other] = dict(tensor)


def duplicate_key(model):
    header, data = model.tensors()
    text = json.dumps(header)
    name = first_tensor(header)
    model.write_tensors((text[:-1] + f", {json.dumps(name)}: {json.dumps(header[name])}}}").encode(), data)


def trailing_bytes(model):
    header, data = model.tensors()
    model.write_tensors(header, data + b"\0" * 16)


def cut_data(model):
    header, data = model.tensors()
    model.write_tensors(header, data[:-2])


def hole(model):
    header, data = model.tensors()
    for name, tensor in header.items():
        if name != "__metadata__":
            tensor["data_offsets"] = [offset + 16 for offset in tensor["data_offsets"]]
    model.write_tensors(header, b"\0" * 16 + data)


def missing(model):
    header, data = model.tensors()
    name = next(name for name in header if name.endswith("q_norm.weight"))
    header["model.other.weight"] = header.pop(name)
    model.write_tensors(header, data)


def transposed(header, _):
    tensor = next(value for name, value in header.items() if name.endswith("q_proj.weight"))
    tensor["shape"] = tensor["shape"][::-1]


def set_field(**fields):
    return edit(lambda header, tensor: tensor.update(fields))


BAD_WEIGHTS = {
    "empty": raw(b""),
    "seven bytes": raw(b"\x10\0\0\0\0\0\0"),
    "eight bytes": raw(struct.pack("<Q", 0)),
    "length 2^64-1": raw(struct.pack("<Q", 2**64 - 1) + b"{}"),
    "length above 100 MB": raw(struct.pack("<Q", 100_000_001) + b"{}"),
    "length beyond the file": raw(struct.pack("<Q", 500) + b"{}"),
    "not UTF-8": header_text(b'{"\xff\xfe": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}}'),
    "truncated JSON": header_text(b'{"a": {"dtype": "F32", "sha'),
    "10^5 nested": header_text(b'{"a": ' + b"[" * 10**5),
    "array": header_text(b"[]"),
    "text": header_text(b'"header"'),
    "number for tensor": header_text(b'{"a": 1}'),
    "zeros": raw(b"\0" * 4096),
    "pickle": raw(b"PK\x03\x04" + b"\0" * 200),
    "duplicate key": duplicate_key,
    "overlapping": edit(overlapping),
    "hole": hole,
    "trailing bytes": trailing_bytes,
    "data cut": cut_data,
    "end before begin": set_field(data_offsets=[64, 0]),
    "past the end": set_field(data_offsets=[0, 2**40]),
    "negative offset": set_field(data_offsets=[-64, 0]),
    "offsets 2^64": edit(lambda header, tensor: tensor.update(data_offsets=[0, 2**64])),
    "three offsets": set_field(data_offsets=[0, 1, 2]),
    "fractional offset": set_field(data_offsets=[0.0, 2.0]),
    "shape that wraps": set_field(shape=[4194305, 4194305, 211106198978564]),
    "shape 2^63": set_field(shape=[2**63]),
    "shape negative": set_field(shape=[-1, -472]),
    "shape of text": set_field(shape=["472", "48"]),
    "shape of 100 dimensions": set_field(shape=[1] * 100),
    "shape too large": set_field(shape=[472, 49]),
    "zero dimension": set_field(shape=[0, 48], data_offsets=[0, 0]),
    "unknown dtype": set_field(dtype="F4_E2M1"),
    "no dtype": edit(lambda header, tensor: tensor.pop("dtype")),
    "tensor missing": missing,
    "tensor transposed": edit(transposed),
    "integer weights": edit(lambda header, tensor: [t.update(dtype="I16") for n, t in header.items() if n != "__metadata__"]),
}


@pytest.mark.parametrize("change", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS)
def test_damaged_weights_are_named(watched, model, change):
    change(model)
    refused(watched, model, "model.safetensors")


def test_a_million_tensors_are_bounded(watched, model):
    """A header near the format's limit of 100 MB; reading it may take twice its size."""
    text = ",".join(f'"t{i}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]}}' for i in range(10**6))
    model.write_tensors(("{" + text + "}").encode(), b"\0" * 10**6)
    size = (model.path / "model.safetensors").stat().st_size / 2**20
    code, _, err = watched("run", model.path, "hi", mebibytes=100 + 5 * size)
    assert code == 1 and "model.safetensors" in err and err.count("\n") == 1
    code, out, _ = watched("inspect", model.path, seconds=15, mebibytes=100 + 30 * size)
    assert code == 0


def test_a_fifo_is_no_file(watched, model):
    for name in ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja"):
        kept = (model.path / name).read_bytes()
        (model.path / name).unlink()
        os.mkfifo(model.path / name)
        refused(watched, model, name)
        model.write(name, kept)


def test_a_directory_is_no_file(watched, model):
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        kept = (model.path / name).read_bytes()
        (model.path / name).unlink()
        (model.path / name).mkdir()
        refused(watched, model, name)
        (model.path / name).rmdir()
        model.write(name, kept)


def test_links_lead_nowhere_else(watched, model, tmp_path):
    for name in ("model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja"):
        outside = tmp_path / name
        (model.path / name).rename(outside)
        (model.path / name).symlink_to(outside)
        refused(watched, model, name, "out of the model's directory")
        (model.path / name).unlink()
        (model.path / name).symlink_to("/dev/zero")
        refused(watched, model, name)
        (model.path / name).unlink()
        (model.path / name).symlink_to(model.path / name)
        refused(watched, model, name)
        (model.path / name).unlink()
        outside.rename(model.path / name)


def test_links_of_a_download_cache_are_followed(watched, model, tmp_path):
    """models--x/snapshots/REVISION/file -> ../../blobs/HASH."""
    snapshot, blobs = tmp_path / "models--x/snapshots/abc", tmp_path / "models--x/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(model.path.iterdir())):
        file.rename(blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    (blobs / "tool").write_text("{{ messages[0].content }}")
    (snapshot / "additional_chat_templates").mkdir()
    (snapshot / "additional_chat_templates/tool_use.jinja").symlink_to("../../../blobs/tool")
    code, out, err = watched("run", snapshot, "--prompts-file", "-", "--json", stdin=QUESTION)
    assert code == 0, err
    assert json.loads(out)["text"]
    assert watched("inspect", snapshot)[0] == 0
    assert watched("tokenize", snapshot, "hi")[0] == 0


BAD_MAPS = {
    "climbs": "../../x.safetensors",
    "absolute": "/etc/passwd",
    "empty": "",
    "absent": "model-00009-of-00003.safetensors",
    "number": 7,
    "itself": "model.safetensors.index.json",
    "directory": ".",
    "long": "x" * 5000,
    "NUL": "a\0b",
}


@pytest.mark.parametrize("file", BAD_MAPS.values(), ids=BAD_MAPS)
def test_a_bad_index_is_refused(watched, checkpoints, tmp_path, file):
    model = ModelDir(checkpoints / "llama2-fp32-sharded", tmp_path / "model")
    index = model.read("model.safetensors.index.json")
    index["weight_map"][next(iter(index["weight_map"]))] = file
    model.write("model.safetensors.index.json", index)
    refused(watched, model, str(model.path))


def test_an_index_without_map_or_with_a_wrong_one(watched, checkpoints, tmp_path):
    model = ModelDir(checkpoints / "llama2-fp32-sharded", tmp_path / "model")
    index = model.read("model.safetensors.index.json")
    names = list(index["weight_map"])
    other = next(name for name in names if index["weight_map"][name] != index["weight_map"][names[0]])
    swapped = {**index["weight_map"], names[0]: index["weight_map"][other]}
    for content in ({}, {"weight_map": []}, {"weight_map": {}}, "[", {"weight_map": swapped},
                    {"weight_map": {f"t{i}": f"f{i}.safetensors" for i in range(2000)}}):
        model.write("model.safetensors.index.json", content)
        refused(watched, model, str(model.path))


def test_weights_cut_short_in_use_are_told_and_no_signal(miniinfer, root, tmp_path):
    model = ModelDir(root / "models/tiny-assistant", tmp_path / "model")
    process = subprocess.Popen([miniinfer, "run", model.path, "hi", "--ignore-eos", "--max-tokens", "1900"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1)
    os.truncate(model.path / "model.safetensors", 4096)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1, err
    assert re.fullmatch(rb"error: [^\n]*model\.safetensors: [^\n]+\n", err), err


def test_no_weights_at_all(watched, model):
    (model.path / "model.safetensors").unlink()
    refused(watched, model, "model.safetensors")
