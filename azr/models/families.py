"""Architectures whose training was compared, token by token, with the model's own attention and output head.

Packed attention and the chunked output head (``azr/train``) replace parts of a model. They were compared with
the original for each of these by ``tests/train/test_families.py``; for others nobody knows, so they are
trained the slow way or not at all.
"""

from __future__ import annotations

CHECKED = {
    "arcee": "ArceeForCausalLM",
    "cohere": "CohereForCausalLM",
    "cohere2": "Cohere2ForCausalLM",
    "ernie4_5": "Ernie4_5ForCausalLM",
    "exaone4": "Exaone4ForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "glm": "GlmForCausalLM",
    "glm4": "Glm4ForCausalLM",
    "granite": "GraniteForCausalLM",
    "hunyuan_v1_dense": "HunYuanDenseV1ForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "olmo": "OlmoForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "seed_oss": "SeedOssForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
    "starcoder2": "Starcoder2ForCausalLM",
}
"""``model_type`` of config.json -> architecture; all are known to the engine too."""

TIED_BY_DEFAULT = frozenset(
    {"cohere", "cohere2", "ernie4_5", "gemma", "gemma2", "gemma3_text", "smollm3", "starcoder2"}
)
"""The output head is the embedding matrix unless config.json says otherwise."""
TIED_IN_THE_ENGINE = frozenset({"cohere", "cohere2", "gemma", "gemma2"})
"""The engine takes these with the embedding matrix as output head only."""
WINDOWS_IN_ALL_LAYERS = frozenset({"qwen2", "qwen3"})
"""The engine takes these with attention windows in all layers or in none."""
WITHOUT_ADAPTERS = frozenset({"starcoder2"})
"""The engine serves these without LoRA adapters only."""
WITHOUT_NORM_WEIGHTS = frozenset({"olmo"})
"""The norms of these have nothing that is trained."""

DROPOUT_KEYS = (
    "attention_dropout", "attn_pdrop", "embd_pdrop", "embedding_dropout", "hidden_dropout", "resid_pdrop", "residual_dropout",
)  # fmt: skip
"""Fields of config.json that drop activations in training. A policy gradient needs the probabilities that
were sampled from."""
