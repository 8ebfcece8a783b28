"""What a program looks like without its names, comments and layout, in the forms that the duplicate search needs.

========== ============================================================ ===========================
form       what it is                                                    equal for
========== ============================================================ ===========================
text       hash of the source without trailing blanks and empty lines    verbatim copies
canonical  hash of alpha-renamed source without comments, docstrings     renamed copies
shape      canonical, numbers and texts blanked                          copies with other constants
tokens     one character per token, all own names the same character    (compared by edit distance)
signature  MinHash of the token 5-grams                                 (compared by LSH)
========== ============================================================ ===========================

Programs are parsed, never executed (``azr.programs``).
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from datasketch import LeanMinHash, MinHash
from numpy.typing import NDArray

from azr.data.spread import spread
from azr.programs.canonical import canonical_source
from azr.system.hashes import text_hash

GRAM_TOKENS = 5
PERMUTATIONS = 128
SCHEME = "affine32"
"""Hash family of datasketch 2; signatures of another one cannot be compared."""

_TOKEN = re.compile(
    r"""(?:[rRbBuUfF]{0,2})(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*")"""
    r"""|[^\W\d]\w*|\d[\w.]*|\*\*=?|//=?|<<=?|>>=?|->|:=|[-+*/%&|^=<>!@]=|\.\.\.|[^\s\w]|\n[ ]*""",
    re.VERBOSE | re.DOTALL,
)
_OWN_NAME = re.compile(r"[va]\d+\Z")
_CONSTANT = re.compile(r"""(?:[rRbBuUfF]{0,2}['"]|\d)""")


@dataclass(frozen=True)
class Fingerprint:
    text: str
    canonical: str
    shape: str
    tokens: str
    """One character per token; every name the program itself binds is the same character, indentation is a token."""
    signature: NDArray[np.uint32]
    """MinHash values, [PERMUTATIONS]."""
    parsed: bool
    """False where the text is not a program: then canonical and shape are hashes of the text itself."""

    def minhash(self) -> LeanMinHash:
        return LeanMinHash(seed=1, hashvalues=self.signature, scheme=SCHEME)


def tokens_of(canonical: str) -> tuple[str, str]:
    """Token string and shape text of a canonical source.

    A token becomes the character of its checksum; two different tokens share one in about 1 of 50,000 pairs.
    """
    tokens = _TOKEN.findall(canonical)
    return "".join(map(_character, tokens)), " ".join(map(_blanked, tokens))


@functools.lru_cache(maxsize=1 << 16)  # constants have no end
def _character(token: str) -> str:
    code = zlib.crc32(b"v" if _OWN_NAME.match(token) else token.encode("utf-8", "surrogatepass"))
    return chr(0x100 + code % 0xD600)  # below the surrogates


@functools.lru_cache(maxsize=1 << 16)
def _blanked(token: str) -> str:
    if not _CONSTANT.match(token):
        return token
    return "0" if token[0].isdigit() else "''"


def gram_hashes(tokens: str) -> NDArray[np.uint64]:
    """Distinct hashes (below 2**32) of all runs of ``GRAM_TOKENS`` tokens, sorted; one hash for a shorter program."""
    codes = np.frombuffer(tokens.encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    width = min(GRAM_TOKENS, len(codes))
    if width == 0:
        return np.zeros(0, np.uint64)
    value = np.zeros(len(codes) - width + 1, np.uint64)
    for offset in range(width):
        value = value * np.uint64(0x9E3779B97F4A7C15) + codes[offset : len(codes) - width + 1 + offset]
    value ^= value >> np.uint64(29)
    return np.unique(value * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(32))


def make_fingerprint(source: str) -> Fingerprint:
    return fingerprint_and_grams(source)[0]


def fingerprint_and_grams(source: str) -> tuple[Fingerprint, NDArray[np.uint64]]:
    """The fingerprint, and the ``gram_hashes`` of its tokens, which its signature is made of."""
    try:
        canonical, parsed = canonical_source(source), True
    except (ValueError, RecursionError):
        canonical, parsed = source, False
    tokens, shape = tokens_of(canonical)
    grams = gram_hashes(tokens)
    sketch = MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme=SCHEME, permutations=_permutations())
    sketch.update_batch(grams.tolist())
    lines = (line.rstrip() for line in source.splitlines())
    text = text_hash("\n".join(line for line in lines if line))
    hashes = (text, text_hash(canonical), text_hash(shape))
    return Fingerprint(*hashes, tokens, sketch.digest(), parsed), grams


@functools.lru_cache(maxsize=1)
def _permutations() -> NDArray[np.uint32]:
    return np.asarray(MinHash(num_perm=PERMUTATIONS, scheme=SCHEME).permutations)


def fingerprint_all(sources: Iterable[str], *, workers: int = 0) -> dict[str, Fingerprint]:
    """Fingerprints by source text; many programs are spread over processes that end with this call or with our process.

    Args:
        workers: processes; 0 = one a core.
    """
    distinct = list(dict.fromkeys(sources))
    return dict(zip(distinct, spread(_make_many, distinct, workers), strict=True))


def _make_many(sources: Sequence[str]) -> list[Fingerprint]:
    return [make_fingerprint(source) for source in sources]
