"""Is a file of ``torch.save`` made of tensors and plain values alone? Read without loading it, and without
torch.

The trainer restores a checkpoint through verl, which unpickles whatever a file says. In the user's own run
that is right, as its hashes are checked; a file that came from elsewhere could name any function to be
called. So an unpacked one may name these only.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from azr.moving.archive import UNREADABLE
from azr.wording import first_line

_ALLOWED = re.compile(
    r"torch \w+Storage|torch (bfloat16|float16|float32|float64|u?int8|int16|int32|int64|bool|device|Size)|torch\._utils _rebuild_tensor_v2"
    r"|collections OrderedDict|numpy(\._core|\.core)\.multiarray _reconstruct|numpy (ndarray|dtype)|_codecs encode"
)
_NAMING = {"STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4", "PERSID"}
"""Other ways in which a pickle can name something; torch writes none of them."""
_DAMAGED = (*UNREADABLE, OSError)


def tensor_file_problem(path: Path) -> str:
    """Why the file may not be loaded; empty where it holds tensors and plain values alone."""
    try:
        for name, argument in _operations(path):
            if name in _NAMING:
                return f"it is not a file of the trainer's (it uses {name})"
            if name == "GLOBAL" and not _ALLOWED.fullmatch(str(argument)):
                return f"it would call or build {str(argument).replace(' ', '.')[:120]}"
    except _DAMAGED as error:
        return f"it cannot be read as tensors ({first_line(error)[:120]})"
    return ""


def _operations(path: Path) -> Iterator[tuple[str, object]]:
    """Operations of the one pickle inside.

    Raises:
        ValueError: the file is laid out so that torch could read it in another way than we do.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":  # else torch takes it for a bare pickle, whatever follows
            raise ValueError("it is not a zip file of torch.save")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        pickles = [member for member in members if member.filename.endswith(".pkl")]
        is_one = len(pickles) == 1 and re.fullmatch(r"[^/]+/data\.pkl", pickles[0].filename)
        if not is_one or len(set(names)) != len(names):
            raise ValueError("it holds other things than one data.pkl")
        is_stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not is_stored or min(member.header_offset for member in members) != 0:
            raise ValueError("it is not laid out as torch.save does")
        content = archive.read(pickles[0])
    for operation, argument, _ in pickletools.genops(content):
        yield operation.name, argument
