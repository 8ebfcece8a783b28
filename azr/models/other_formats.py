"""Models in a format that cannot be trained: what the file is, and what makes a folder of safetensors of it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

GUIDE = "docs/howto/other_models.md#models-in-another-format"
_ORIGINAL = "use the model's original safetensors"
FORMATS = {
    ".gguf": f"GGUF files are for llama.cpp and Ollama; {_ORIGINAL} (its page on the hub names it as base model), or convert it",
    ".bin": "PyTorch's .bin files are pickles, which are not read here; convert it if you trust it",
    ".pth": "PyTorch's .pth files are pickles, which are not read here; convert it if you trust it",
    ".pt": "PyTorch's .pt files are pickles, which are not read here; convert it if you trust it",
    ".ckpt": "checkpoints of a trainer are pickles, which are not read here; convert it if you trust it",
    ".h5": "these are TensorFlow weights; convert them",
    ".msgpack": "these are Flax weights; convert them",
    ".onnx": f"ONNX files cannot be trained; {_ORIGINAL}",
    ".npz": f"these are MLX weights; {_ORIGINAL}",
    ".tflite": f"TFLite files cannot be trained; {_ORIGINAL}",
    ".engine": f"TensorRT engines cannot be trained; {_ORIGINAL}",
    ".llamafile": f"llamafiles hold a GGUF model; {_ORIGINAL}",
    **dict.fromkeys(
        (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"),
        "an archive; unpack it, and give the folder that holds config.json",
    ),
}
"""Suffix -> what it is, and what to do."""
_NO_MODELS = (
    "training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth",
)  # fmt: skip
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def other_format(names: Collection[str]) -> str:
    """What files of these names are, where one is a model in another format; else empty."""
    for suffix, what in FORMATS.items():
        found = sorted(name for name in names if name.lower().endswith(suffix) and name not in _NO_MODELS)
        if found and not set(found) & set(_ADAPTERS):
            guide = f" ({GUIDE})" if "convert" in what else ""
            return f"{found[0]}: {what}{guide}"
    if "consolidated.safetensors" in names or "params.json" in names:
        return f"the layout of Mistral's or Meta's own code; {_ORIGINAL} in the layout of transformers, from the hub"
    return ""


def adapter_in(folder: Path, names: Collection[str]) -> str:
    """A sentence where the folder holds an adapter (LoRA) and no model; else empty."""
    if not set(names) & set(_ADAPTERS):
        return ""
    try:
        values = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = str(values["base_model_name_or_path"] or "")
    except (OSError, ValueError, KeyError, TypeError):
        base = ""
    return (
        f"{folder} holds an adapter, not a model; merge it into its base{f' ({base})' if base else ''} "
        f"and give the folder that this makes ({GUIDE})"
    )


def adapter_beside(folder: Path, weights: str) -> str:
    """A sentence where an adapter lies beside a model's weights, as after ``merge_and_unload().save_pretrained`` into
    the adapter's own folder; else empty. transformers puts the adapter over its base, which need not be these
    weights, and the engine does not look at it."""
    if not (folder / "adapter_config.json").is_file():
        return ""
    return (
        f"{folder} holds adapter_config.json beside {weights}: the trainer would load that adapter once more over the weights, the "
        f"engine would not. If the weights are merged, move adapter_config.json and adapter_model.* to another folder; if not, "
        f"merge the adapter ({GUIDE})"
    )


def of_another_tool(path: str) -> str:
    """What to do where ``model.path`` is a name of Ollama or llama.cpp, or names a GGUF repository; else empty."""
    if "gguf" in path.lower():
        return f"It names GGUF files, which are for llama.cpp and Ollama; {_ORIGINAL}: its page on the hub names the base model"
    if ":" in path and "/" not in path.partition(":")[2] and not path.startswith(("/", ".", "~")):
        return "It looks like a name of Ollama, whose models are GGUF files; give its name on the hub, such as Qwen/Qwen2.5-Coder-0.5B"
    return ""
