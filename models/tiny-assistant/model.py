"""The network in plain PyTorch, and its export in the Qwen3ForCausalLM layout."""

import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 768
    theta: float = 1e4
    eps: float = 1e-6
    context: int = 2048


def rms_norm(x, weight, eps):
    h = x.float()
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


class Model(nn.Module):
    """Weights of one kind are stacked over layers ([layers, out, in]) so that Muon handles each
    kind in one batch.
    """

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        q, kv = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.embed = nn.Parameter(torch.randn(c.vocab, c.width) * 0.02)

        def matrix(out_dim, in_dim, scale=1.0):
            return nn.Parameter(torch.randn(c.layers, out_dim, in_dim) * scale * in_dim**-0.5)

        self.q, self.k, self.v = matrix(q, c.width), matrix(kv, c.width), matrix(kv, c.width)
        self.o = matrix(c.width, q, 0.3)
        self.gate, self.up = matrix(c.ffn, c.width), matrix(c.ffn, c.width)
        self.down = matrix(c.width, c.ffn, 0.3)
        self.attn_norm = nn.Parameter(torch.ones(c.layers, c.width))
        self.ffn_norm = nn.Parameter(torch.ones(c.layers, c.width))
        self.q_norm = nn.Parameter(torch.ones(c.layers, c.head_dim))
        self.k_norm = nn.Parameter(torch.ones(c.layers, c.head_dim))
        self.norm = nn.Parameter(torch.ones(c.width))

    def matrices(self):
        return [self.q, self.k, self.v, self.o, self.gate, self.up, self.down]

    def vectors(self):
        return [self.embed, self.attn_norm, self.ffn_norm, self.q_norm, self.k_norm, self.norm]

    def rope(self, positions):
        """cos and sin [..., positions, head_dim] in the rotate-half layout."""
        c = self.c
        inverse = c.theta ** (
            -torch.arange(0, c.head_dim, 2, device=positions.device, dtype=torch.float32)
            / c.head_dim
        )
        angles = positions.float()[..., None] * inverse
        angles = torch.cat([angles, angles], -1)
        return angles.cos(), angles.sin()

    def forward(self, tokens, attend, positions=None):
        """tokens [B, S] -> hidden states [B, S, width]; attend(layer, q, k, v) on [B, heads, S,
        head_dim].
        """
        c = self.c
        batch, length = tokens.shape
        if positions is None:
            positions = torch.arange(length, device=tokens.device)
        cos, sin = self.rope(positions)
        if cos.dim() == 3:
            cos, sin = cos[:, None], sin[:, None]

        def rotate(x):
            half = torch.cat([-x[..., c.head_dim // 2 :], x[..., : c.head_dim // 2]], -1)
            return (x * cos + half * sin).to(x.dtype)

        x = F.embedding(tokens, self.embed)
        kinds = [
            m.unbind(0)
            for m in self.matrices() + [self.attn_norm, self.ffn_norm, self.q_norm, self.k_norm]
        ]
        for layer, (wq, wk, wv, wo, wg, wu, wd, n1, n2, nq, nk) in enumerate(zip(*kinds)):
            h = rms_norm(x, n1, c.eps)

            def heads(weight, count):
                return F.linear(h, weight).view(batch, length, count, c.head_dim).transpose(1, 2)

            query = rotate(rms_norm(heads(wq, c.heads), nq, c.eps))
            key = rotate(rms_norm(heads(wk, c.kv_heads), nk, c.eps))
            value = heads(wv, c.kv_heads)
            mixed = attend(layer, query.to(value.dtype), key.to(value.dtype), value)
            x = x + F.linear(mixed.transpose(1, 2).reshape(batch, length, -1), wo)
            h = rms_norm(x, n2, c.eps)
            x = x + F.linear(F.silu(F.linear(h, wg)) * F.linear(h, wu), wd)
        return rms_norm(x, self.norm, c.eps)


def hf_tensors(model: Model):
    """Name -> bf16 tensor, as transformers' Qwen3ForCausalLM stores them (tied embedding, so no
    lm_head).
    """
    out = {"model.embed_tokens.weight": model.embed, "model.norm.weight": model.norm}
    names = {
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "o": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "q_norm": "self_attn.q_norm",
        "k_norm": "self_attn.k_norm",
    }
    for ours, theirs in names.items():
        for layer, tensor in enumerate(getattr(model, ours).unbind(0)):
            out[f"model.layers.{layer}.{theirs}.weight"] = tensor
    return {k: v.detach().to(torch.bfloat16).contiguous().cpu() for k, v in out.items()}


def load_hf(path, config=None):
    """The model of a directory written by export."""
    from safetensors.torch import load_file

    tensors = load_file(f"{path}/model.safetensors")
    model = Model(config or Config())
    reference = hf_tensors(model)
    assert reference.keys() == tensors.keys(), "the checkpoint has other tensors than the model"
    with torch.no_grad():
        model.embed.copy_(tensors["model.embed_tokens.weight"])
        model.norm.copy_(tensors["model.norm.weight"])
        names = {
            "q": "self_attn.q_proj",
            "k": "self_attn.k_proj",
            "v": "self_attn.v_proj",
            "o": "self_attn.o_proj",
            "gate": "mlp.gate_proj",
            "up": "mlp.up_proj",
            "down": "mlp.down_proj",
            "attn_norm": "input_layernorm",
            "ffn_norm": "post_attention_layernorm",
            "q_norm": "self_attn.q_norm",
            "k_norm": "self_attn.k_norm",
        }
        for ours, theirs in names.items():
            for layer in range(model.c.layers):
                getattr(model, ours)[layer].copy_(tensors[f"model.layers.{layer}.{theirs}.weight"])
    return model


def export(model: Model, directory):
    """model.safetensors, config.json and generation_config.json."""
    from safetensors.torch import save_file

    c = model.c
    directory.mkdir(parents=True, exist_ok=True)
    save_file(hf_tensors(model), str(directory / "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": c.vocab,
        "hidden_size": c.width,
        "intermediate_size": c.ffn,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": c.context,
        "rms_norm_eps": c.eps,
        "rope_theta": c.theta,
        "rope_scaling": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "use_sliding_window": False,
        "sliding_window": None,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "bfloat16",
    }
    generation = {
        "do_sample": False,
        "eos_token_id": [2, 0],
        "pad_token_id": 0,
        "max_new_tokens": 256,
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
