"""The table of checkpoints: an entry per model family, RoPE type and field that changes the result.

Sizes are tiny on purpose, and uneven where real ones are round (an odd vocabulary, an intermediate
size that no vector width divides), so that the tails of every kernel are walked too.
"""

from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    architecture: str
    config: dict
    dtype: str
    rope: dict = field(
        default_factory=dict
    )  # the newer layout's rope_parameters, without rope_theta
    rope_theta: float | None = 10000.0  # None: the key is left out of every layout
    about: str = ""
    shards: int = 1
    # Overrides that must change the result, or the case would not notice that its feature is
    # ignored. The key "rope" replaces rope_parameters.
    contrasts: list = field(default_factory=list)
    # More config.json files that must mean exactly the same: suffix -> (keys to set, keys to drop).
    variants: dict = field(default_factory=dict)


MODEL_TYPES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}


def shape(hidden, layers, heads, kv_heads, intermediate, vocab, positions=256, **more):
    return dict(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=intermediate,
        vocab_size=vocab,
        max_position_embeddings=positions,
        hidden_act="silu",
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        **more,
    )


LLAMA3 = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32)
NO_ROPE_SCALING = {"rope": dict(rope_type="default")}


def partial_rotary(theta):
    """The field of other families, in both layouts: these here rotate whole heads all the same."""
    nested = dict(rope_type="default", rope_theta=theta, partial_rotary_factor=0.5)
    return {
        "partial_rotary": (dict(partial_rotary_factor=0.5), []),
        "partial_rotary_nested": (dict(rope_parameters=nested), ["rope_theta", "rope_scaling"]),
    }


def yarn_without(**changes):
    rope = dict(YARN, **changes)
    return {"rope": {k: v for k, v in rope.items() if v is not None}}


CASES = [
    Case(
        "llama2-bf16",
        "LlamaForCausalLM",
        shape(64, 2, 4, 4, 172, 160),
        "bfloat16",
        about="Llama 2: every head has its own keys, default RoPE.",
        variants={
            "minimal": (
                {},
                [
                    "num_key_value_heads",
                    "rope_theta",
                    "rope_scaling",
                    "tie_word_embeddings",
                    "attention_bias",
                    "mlp_bias",
                    "torch_dtype",
                ],
            ),
            "layer_types": (dict(layer_types=["full_attention"] * 2), []),
            **partial_rotary(10000.0),
        },
        contrasts=[{"rope": dict(rope_type="default", rope_theta=20000.0)}],
    ),
    Case(
        "llama2-fp16",
        "LlamaForCausalLM",
        shape(48, 2, 6, 6, 100, 131),
        "float16",
        about="The same family in fp16, head_dim 8, odd vocabulary.",
    ),
    Case(
        "llama2-fp32-sharded",
        "LlamaForCausalLM",
        shape(48, 3, 3, 3, 116, 144),
        "float32",
        shards=3,
        about="Weights in fp32, in three files under model.safetensors.index.json.",
    ),
    Case(
        "llama3-bf16",
        "LlamaForCausalLM",
        shape(96, 2, 6, 2, 160, 200, head_dim=16),
        "bfloat16",
        rope=LLAMA3,
        rope_theta=500000.0,
        about="Llama 3.1: grouped heads, llama3 RoPE with kept, blended and scaled frequencies.",
        contrasts=[
            NO_ROPE_SCALING,
            {"rope": dict(LLAMA3, factor=4.0)},
            {"rope": dict(LLAMA3, high_freq_factor=3.0)},
        ],
    ),
    Case(
        "llama32-tied-bf16",
        "LlamaForCausalLM",
        shape(64, 3, 4, 2, 128, 193, head_dim=32),
        "bfloat16",
        rope=dict(LLAMA3, factor=32.0),
        rope_theta=500000.0,
        about="Llama 3.2: tied; head_dim apart from hidden / heads; several end tokens.",
        contrasts=[NO_ROPE_SCALING],
    ),
    Case(
        "llama-biases-fp32",
        "LlamaForCausalLM",
        shape(56, 2, 7, 1, 90, 111, attention_bias=True, mlp_bias=True),
        "float32",
        about="Biases on every projection, one key-value head (MQA).",
    ),
    Case(
        "mistral-sliding-bf16",
        "MistralForCausalLM",
        shape(64, 2, 4, 2, 144, 160, sliding_window=8),
        "bfloat16",
        about="Mistral 7B v0.1: a window of 8 on every layer; prompts reach 70.",
        variants={
            "layer_types": (dict(layer_types=["sliding_attention"] * 2, head_dim=16), []),
            **partial_rotary(10000.0),
        },
        contrasts=[{"sliding_window": None}, {"sliding_window": 9}],
    ),
    Case(
        "mistral-layer-types-fp32",
        "MistralForCausalLM",
        shape(
            48,
            3,
            4,
            2,
            80,
            120,
            sliding_window=9,
            head_dim=16,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        "float32",
        about="Mistral whose layer_types say which layers slide.",
        contrasts=[
            {"layer_types": ["full_attention"] * 3},
            {"layer_types": ["sliding_attention"] * 3},
        ],
    ),
    Case(
        "mistral-full-fp16",
        "MistralForCausalLM",
        shape(80, 2, 4, 2, 112, 150, sliding_window=None, head_dim=24),
        "float16",
        rope_theta=1000000.0,
        about="Mistral v0.3 and Nemo: no window, head_dim apart from hidden / heads.",
        contrasts=[{"sliding_window": 32}],
    ),
    Case(
        "qwen2-tied-bf16",
        "Qwen2ForCausalLM",
        shape(
            64, 2, 4, 2, 152, 170, sliding_window=8, use_sliding_window=False, max_window_layers=1
        ),
        "bfloat16",
        rope_theta=1000000.0,
        about="Qwen2: q, k, v biases; tied; a window that use_sliding_window switches off.",
        variants={
            "no_window_keys": ({}, ["sliding_window", "use_sliding_window", "max_window_layers"]),
            **partial_rotary(1000000.0),
        },
        contrasts=[{"use_sliding_window": True}],
    ),
    Case(
        "qwen2-sliding-bf16",
        "Qwen2ForCausalLM",
        shape(64, 4, 4, 2, 96, 140, sliding_window=8, use_sliding_window=True, max_window_layers=2),
        "bfloat16",
        about="Qwen2, upper layers sliding, named by max_window_layers or by layer_types.",
        variants={
            "layer_types": (
                dict(layer_types=["full_attention"] * 2 + ["sliding_attention"] * 2),
                [],
            )
        },
        contrasts=[
            {"use_sliding_window": False},
            {"max_window_layers": 3},
            {"max_window_layers": 0},
        ],
    ),
    Case(
        "qwen2-layer-types-fp32",
        "Qwen2ForCausalLM",
        shape(
            48,
            4,
            3,
            1,
            80,
            120,
            sliding_window=12,
            use_sliding_window=True,
            max_window_layers=4,
            layer_types=["sliding_attention", "full_attention"] * 2,
        ),
        "float32",
        about="layer_types alternates and wins over max_window_layers.",
        contrasts=[
            {"layer_types": None},
            {"layer_types": ["full_attention", "sliding_attention"] * 2},
        ],
    ),
    Case(
        "qwen3-tied-bf16",
        "Qwen3ForCausalLM",
        shape(64, 2, 4, 2, 160, 180, head_dim=24, attention_bias=False),
        "bfloat16",
        rope_theta=1000000.0,
        about="Qwen3: norms on q and k, head_dim 24 apart from 64 / 4, tied.",
        variants=partial_rotary(1000000.0),
    ),
    Case(
        "qwen3-fp32",
        "Qwen3ForCausalLM",
        shape(48, 3, 6, 2, 100, 127, head_dim=32, attention_bias=True),
        "float32",
        rope_theta=1000000.0,
        about="Qwen3 untied with attention_bias (q, k, v and o).",
    ),
    Case(
        "qwen3-chat-bf16",
        "Qwen3ForCausalLM",
        shape(48, 2, 4, 2, 96, 472, positions=512, head_dim=16, attention_bias=False),
        "bfloat16",
        rope_theta=1000000.0,
        about="A whole directory: with the qwen2 tokenizer and its chat template.",
    ),
    Case(
        "qwen3-sliding-bf16",
        "Qwen3ForCausalLM",
        shape(
            40,
            3,
            5,
            1,
            88,
            130,
            head_dim=16,
            sliding_window=10,
            use_sliding_window=True,
            max_window_layers=1,
        ),
        "bfloat16",
        about="Qwen3 with sliding layers; five query heads on one key-value head.",
        contrasts=[{"use_sliding_window": False}],
    ),
    Case(
        "rope-linear-fp32",
        "LlamaForCausalLM",
        shape(48, 2, 4, 2, 96, 128),
        "float32",
        rope=dict(rope_type="linear", factor=4.0),
        about="Linear RoPE scaling.",
        contrasts=[NO_ROPE_SCALING],
    ),
    Case(
        "rope-dynamic-fp32",
        "LlamaForCausalLM",
        shape(48, 2, 3, 3, 96, 128, positions=32),
        "float32",
        rope=dict(rope_type="dynamic", factor=4.0),
        about="Dynamic NTK RoPE; prompts below and above 32 positions, answers that cross it.",
        contrasts=[NO_ROPE_SCALING, {"rope": dict(rope_type="dynamic", factor=2.0)}],
    ),
    Case(
        "rope-dynamic-qwen2-bf16",
        "Qwen2ForCausalLM",
        shape(48, 2, 3, 1, 96, 128, positions=32),
        "bfloat16",
        rope=dict(rope_type="dynamic", factor=3.0),
        about="Dynamic NTK RoPE in a grouped bf16 model.",
        contrasts=[NO_ROPE_SCALING],
    ),
    Case(
        "rope-yarn-fp32",
        "LlamaForCausalLM",
        shape(64, 2, 2, 1, 96, 128, positions=128),
        "float32",
        rope=YARN,
        about="YaRN with everything inferred: attention factor 0.1 ln(factor) + 1, beta 32 and 1.",
        variants={
            "original_at_top": (
                dict(original_max_position_embeddings=32),
                ["rope:original_max_position_embeddings"],
            )
        },
        contrasts=[
            NO_ROPE_SCALING,
            yarn_without(attention_factor=1.0),
            yarn_without(beta_fast=1.5),
        ],
    ),
    Case(
        "rope-yarn-factor-bf16",
        "Qwen2ForCausalLM",
        shape(64, 2, 2, 2, 96, 128, positions=128),
        "bfloat16",
        rope=dict(YARN, attention_factor=1.25, beta_fast=2.5, beta_slow=0.5),
        about="YaRN with attention_factor, beta_fast and beta_slow given.",
        contrasts=[yarn_without(attention_factor=1.25), yarn_without(beta_fast=2.5, beta_slow=0.5)],
    ),
    Case(
        "rope-yarn-mscale-fp32",
        "LlamaForCausalLM",
        shape(64, 2, 2, 1, 96, 128, positions=128),
        "float32",
        rope=dict(YARN, mscale=1.0, mscale_all_dim=0.5, truncate=False),
        about="YaRN with mscale over mscale_all_dim and untruncated correction dims.",
        contrasts=[yarn_without(truncate=False), yarn_without(mscale=1.0, mscale_all_dim=0.5)],
    ),
    Case(
        "rope-yarn-implicit-qwen3-bf16",
        "Qwen3ForCausalLM",
        shape(64, 2, 2, 1, 96, 128, positions=32, head_dim=40),
        "bfloat16",
        rope=dict(rope_type="yarn", factor=4.0),
        about="YaRN where max_position_embeddings stands for the original; with q/k norm.",
        variants={"explicit": ({}, ["rope:+original_max_position_embeddings=32"])},
        contrasts=[NO_ROPE_SCALING],
    ),
]

for case in CASES:
    if "tied" in case.name:
        case.config["tie_word_embeddings"] = True
    if case.name == "llama32-tied-bf16":
        case.config["eos_token_id"] = [2, 5, 7]
