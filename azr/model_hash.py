"""What a model folder holds, as two hashes: one of its weights and configuration, one of its tokenizer.

Other weights in files of equal size give another hash, and 15 GB are hashed in about a second: files up to
``WHOLE_BYTES`` are read whole; of a larger safetensors file the header and blocks of every tensor, of any
other large file blocks spread over it. Training changes every tensor all over, so the blocks tell; a change
of a few numbers inside one large tensor they may not.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from azr.errors import ModelError

WHOLE_BYTES = 64 << 20
BLOCK_BYTES = 4096
BLOCKS_OF_TENSOR = 4
BLOCKS_OF_FILE = 1024
_CONFIGURATION = ("config.json", "generation_config.json")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip
_WRITERS_OWN = ("transformers_version", "_name_or_path", "name_or_path", "is_local", "local_files_only")
"""Keys of config.json and tokenizer_config.json that say who wrote it, where, and whether the hub could be
reached; a copy saved by another version of transformers, or offline, is the same model."""
_WRITERS_OWN_ONCE = ("transformers_version", "_name_or_path")
"""What earlier versions left out; runs that they began have hashes of this kind in ``identity.json``."""


@dataclass(frozen=True)
class ModelHash:
    """32 hex digits each; independent of where the folder lies and of files that are not part of the model
    (README, licence)."""

    model: str
    tokenizer: str

    def changed_to(self, found: ModelHash) -> str:
        """How a folder differs from the recorded model, for a message: it holds another model, or another tokenizer."""
        if found.model != self.model:
            return f"holds another model (content {found.model[:8]}, not {self.model[:8]})"
        return f"holds the same weights with another tokenizer (content {found.tokenizer[:8]}, not {self.tokenizer[:8]})"


def hash_model(folder: Path, recorded: ModelHash | None = None) -> ModelHash:
    """
    Args:
        recorded: of the model that is looked for; it is returned where an earlier version would have counted
            this folder so.

    Raises:
        ModelError: the folder or a file in it cannot be read.
    """
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        weights = [path for path in files if path.suffix == ".safetensors"] or [
            path for path in files if path.suffix == ".bin"
        ]
        code = [path for path in files if path.suffix == ".py"]
        configuration = [path for path in files if path.name in _CONFIGURATION]
        tokenizer = [
            path for path in files if path.name in _TOKENIZER or path.suffix in (".model", ".tiktoken")
        ]
        found = ModelHash(_hash(weights + code + configuration), _hash(tokenizer))
        if recorded not in (None, found) and recorded == replace(
            found, tokenizer=_hash(tokenizer, _WRITERS_OWN_ONCE)
        ):
            return recorded
        return found
    except OSError as error:
        raise ModelError(f"the model in {folder} cannot be read: {error.strerror or error}") from error


def _hash(files: Iterable[Path], left_out: Collection[str] = _WRITERS_OWN) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in files:
        content = hashlib.blake2b(digest_size=16)
        for piece in _pieces(path, left_out):
            content.update(piece)
        digest.update(f"{path.name}\0{content.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _pieces(path: Path, left_out: Collection[str]) -> Iterator[bytes]:
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        yield _without(left_out, path.read_bytes()) if path.suffix == ".json" else path.read_bytes()
        return
    yield struct.pack("<Q", size)
    with open(path, "rb") as file:
        spans = [(0, size, BLOCKS_OF_FILE)]
        if path.suffix == ".safetensors":
            length = struct.unpack("<Q", file.read(8))[0]
            header = file.read(min(length, size))
            yield header
            spans = _tensor_spans(header, 8 + length, size) or spans
        for begin, end, blocks in spans:
            for offset in _offsets(begin, end, blocks):
                file.seek(offset)
                yield file.read(min(BLOCK_BYTES, end - offset))


def _tensor_spans(header: bytes, start: int, size: int) -> list[tuple[int, int, int]]:
    """(begin, end, blocks to read) of each tensor; empty where the header is not the safetensors header of a file
    this long."""
    try:
        entries = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        spans = [
            (start + int(entry["data_offsets"][0]), start + int(entry["data_offsets"][1]))
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return []
    return [(begin, end, BLOCKS_OF_TENSOR) for begin, end in spans if start <= begin <= end <= size]


def _offsets(begin: int, end: int, blocks: int) -> list[int]:
    """Where the blocks of a span begin: evenly spread, the first at its beginning and the last at its end."""
    last = max(begin, end - BLOCK_BYTES)
    if end > begin:
        return sorted({begin + (last - begin) * index // (blocks - 1) for index in range(blocks)})
    return []


def _without(left_out: Collection[str], data: bytes) -> bytes:
    """JSON by its values (spacing and line ends do not count); what is not a JSON object stays as it is."""
    try:
        values = json.loads(data)
    except ValueError:
        return data
    if isinstance(values, dict):
        values = {key: value for key, value in values.items() if key not in left_out}
    return json.dumps(values, sort_keys=True).encode()
