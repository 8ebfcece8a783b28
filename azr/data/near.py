"""Which kept program a new one is an edited copy of: candidates by MinHash/LSH, verified by token edit similarity."""

from __future__ import annotations

from typing import Any

from datasketch import MinHashLSH
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from azr.data.fingerprints import PERMUTATIONS, Fingerprint

LSH_BANDS_ROWS = (25, 5)
"""A pair of 5-gram Jaccard similarity 0.5 / 0.6 / 0.7 becomes a candidate with probability 0.55 / 0.87 / 0.99."""


class NearIndex:
    """Programs in the order they were added."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=LSH_BANDS_ROWS)
        self._programs: list[tuple[str, str]] = []
        """(token string, name) of each"""

    def add(self, print_: Fingerprint, name: str) -> None:
        self._lsh.insert(len(self._programs), print_.minhash(), check_duplication=False)
        self._programs.append((print_.tokens, name))

    def find(self, print_: Fingerprint) -> str:
        """The name of the first program added that ``print_`` is an edited copy of; empty if there is none."""
        found: list[Any] = self._lsh.query(print_.minhash())
        candidates = [self._programs[index] for index in sorted(found)]
        if not candidates:
            return ""
        tokens = [tokens for tokens, _ in candidates]
        # a pool has a hundred candidates for a program and no copy among them: all are compared outside of Python
        [scores] = cdist(
            [print_.tokens], tokens, scorer=Indel.normalized_similarity, score_cutoff=self._similarity
        )
        return next((name for score, (_, name) in zip(scores, candidates, strict=True) if score > 0), "")
