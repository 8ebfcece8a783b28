"""Model folders with one thing changed, made from the bundled model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

TINY = Path(__file__).resolve().parents[2] / "data" / "models" / "azr-tiny"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 17209003\n"


def tiny_copy(target: Path) -> Path:
    shutil.copytree(TINY, target)
    return target


def change(folder: Path, file: str, **values: Any) -> None:
    """Sets fields of a JSON file; None removes one."""
    path = folder / file
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(
        json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8"
    )


def split(folder: Path) -> list[str]:
    """The weights in two pieces with an index; returns the names of the pieces."""
    from safetensors.torch import load_file, save_file

    whole = load_file(folder / "model.safetensors")
    names = sorted(whole)
    pieces = {
        "model-00001-of-00002.safetensors": names[: len(names) // 2],
        "model-00002-of-00002.safetensors": names[len(names) // 2 :],
    }
    for piece, inside in pieces.items():
        save_file({name: whole[name] for name in inside}, folder / piece)
    places = {name: piece for piece, inside in pieces.items() for name in inside}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "model.safetensors").unlink()
    return sorted(pieces)


def rewrite(folder: Path, edit: Any) -> None:
    """The weights as ``edit`` leaves them: it gets them by name and returns them."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(edit(load_file(path)), path)
