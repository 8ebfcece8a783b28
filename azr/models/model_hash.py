"""What "the same model" means, for runs, exports and evaluations alike: the same tensors (``azr.models.tensor_hashes``), code
and settings, whatever files hold them and whoever saved them; and beside these the same tokenizer.

Earlier versions hashed the files of the weights, of large ones blocks only. What they wrote down goes on being compared
in that way, until a record has the newer hash.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.models.saved_again import settings_that_count
from azr.models.tensor_hashes import loaded_files, tensor_hashes
from azr.models.weight_files import INDEX, WEIGHTS

WHOLE_BYTES = 64 << 20
BLOCK_BYTES = 4096
BLOCKS_OF_TENSOR = 4
BLOCKS_OF_FILE = 1024
_CONFIGURATION = ("config.json", "generation_config.json")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip


@dataclass(frozen=True)
class ModelHash:
    """32 hex digits each; independent of where the folder lies and of files that are not part of the model
    (README, licence)."""

    model: str
    """Empty in records of earlier versions."""
    tokenizer: str
    files: str
    """What earlier versions recorded for ``model``: it depends on how the weights are cut into files."""

    @property
    def known_as(self) -> str:
        """What messages call it."""
        return self.model or self.files

    def same_model(self, found: ModelHash) -> bool:
        """Whether weights, code and settings are the same; of the tokenizer nothing is said."""
        return self.model == found.model if self.model and found.model else self.files == found.files

    def is_of(self, found: ModelHash) -> bool:
        """Whether a record of a model and what is found in a folder are the same, the tokenizer included."""
        return self.same_model(found) and self.tokenizer == found.tokenizer

    def changed_to(self, found: ModelHash) -> str:
        """How a folder differs from the recorded model, for a message: it holds another model, or another tokenizer."""
        before, now = self.shown(found)
        if not self.same_model(found):
            return f"holds another model (content {now}, not {before})"
        return f"holds the same weights with another tokenizer (content {now}, not {before})"

    def shown(self, found: ModelHash) -> tuple[str, str]:
        """The digits by which the two differ."""
        if self.same_model(found):
            before, now = self.tokenizer, found.tokenizer
        else:
            before, now = (self.known_as, found.model) if self.model else (self.files, found.files)
        return before[:8], now[:8]


def hash_model(folder: Path) -> ModelHash:
    """
    Raises:
        ModelError: the folder or a file in it cannot be read.
    """
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
        code = [(path.name, _digest(_pieces(path))) for path in files if path.suffix == ".py"]
        weights = _weights_among(files)
        by_file = [(path.name, _digest(_pieces(path))) for path in weights]
        tensors = tensor_hashes(loaded_files(folder, weights))
        configuration = _canonical(
            [(path.name, path.read_bytes()) for path in files if path.name in _CONFIGURATION]
        )
        tokenizer = [
            (path.name, path.read_bytes())
            for path in files
            if path.name in _TOKENIZER or path.suffix in (".model", ".tiktoken")
        ]
    except OSError as error:
        raise ModelError(f"the model in {folder} cannot be read: {error.strerror or error}") from error
    # else a script of the user's that lies there
    loaded = code if any(b'"auto_map"' in content for _, content in configuration + tokenizer) else []
    return ModelHash(
        _hash([*tensors, *loaded], configuration),
        _hash([], _canonical(tokenizer)),
        _hash(by_file + code, configuration),
    )


def hash_weights(folder: Path, *, by_file: bool = False) -> str:
    """Of the weights alone, in 32 hex digits; empty where there are none.

    Args:
        by_file: as earlier versions hashed them.

    Raises:
        OSError: they cannot be read.
    """
    weights = _weights_among([path for path in sorted(folder.iterdir()) if path.is_file()])
    if not by_file:
        return _hash(tensor_hashes(loaded_files(folder, weights)), []) if weights else ""
    return _hash([(path.name, _digest(_pieces(path))) for path in weights], []) if weights else ""


def _weights_among(files: list[Path]) -> list[Path]:
    weights = [path for path in files if path.suffix == ".safetensors"]
    weights = weights or [path for path in files if path.suffix == ".bin"]
    if any(path.name == INDEX for path in files):
        return weights
    # what lies beside is refused by its name, not as another model
    return [path for path in weights if path.name == WEIGHTS] or weights


def _hash(digests: list[tuple[str, str]], contents: list[tuple[str, bytes]]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for name, digest in [*digests, *((name, _digest([content])) for name, content in contents)]:
        whole.update(f"{name}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _digest(pieces: Iterable[bytes]) -> str:
    content = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        content.update(piece)
    return content.hexdigest()


def _canonical(files: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The same for each version of transformers that may have saved them. A chat template counts as a file,
    wherever it is."""
    contents = dict(files)
    for name, data in files:
        if isinstance(values := _json_of(name, data), dict):
            values = settings_that_count(name, values, has_tokenizer_json="tokenizer.json" in contents)
            if name == "tokenizer_config.json" and (template := values.pop("chat_template", None)):
                text = template if isinstance(template, str) else json.dumps(template)
                contents.setdefault("chat_template.jinja", text.encode("utf-8", "surrogatepass"))
            contents[name] = _dumped(values)
    return sorted(contents.items())


def _json_of(name: str, data: bytes) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(data) if name.endswith(".json") else None
    except ValueError:
        return None


def _dumped(values: Any) -> bytes:
    """JSON by its values: spacing, line ends and the order of keys do not count."""
    return json.dumps(values, sort_keys=True).encode()


def _pieces(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    if size <= WHOLE_BYTES:
        yield path.read_bytes()
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
