"""Short hashes of texts and JSON values, the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def text_hash(text: str, digits: int = 16) -> str:
    """blake2b, as that many hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=digits // 2).hexdigest()


def json_hash(value: Any, digits: int = 32) -> str:
    """Of a plain value, whatever the order of its keys."""
    return text_hash(json.dumps(value, sort_keys=True), digits)


def sampling_seed(*parts: object) -> int:
    """31-bit seed of a generator that draws for the thing that ``parts`` name, wherever and whenever it draws."""
    return int(text_hash("/".join(map(str, parts)), 8), 16) >> 1
