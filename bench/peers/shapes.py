"""The two shapes that are compared, as the fields of a Qwen3 configuration."""

SHAPES = {
    "qwen3-0.6b": dict(
        num_hidden_layers=28,
        hidden_size=1024,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        vocab_size=151936,
    ),
    # The shape of the embedded model: 5.8 M parameters, 11.6 MB in bf16.
    "tiny": dict(
        num_hidden_layers=6,
        hidden_size=256,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=768,
        vocab_size=4096,
    ),
}
CONTEXT = 8192
ROPE_THETA = 1e6
NORM_EPS = 1e-6
