"""Which kept program a new one is an edited copy of: candidates by MinHash/LSH, verified by token edit similarity.

In a large pool a program has a hundred candidates and no copy among them. The edit similarity of two token strings
cannot exceed 2 c / (|p| + |q|), c the tokens they have in common whatever their order; one numpy operation computes
that for all candidates, and the few that remain go to rapidfuzz. The result is the same as without.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from datasketch import LeanMinHash, MinHashLSH
from numpy.typing import NDArray
from rapidfuzz.distance import Indel

from azr.data.fingerprints import PERMUTATIONS, Fingerprint

LSH_BANDS_ROWS = (25, 5)
"""A pair of 5-gram Jaccard similarity 0.5 / 0.6 / 0.7 becomes a candidate with probability 0.55 / 0.87 / 0.99."""
_BINS = 128
"""Token characters are counted by their last bits. Two in one bin can only raise the bound."""
_ROUNDING = 1e-6


class NearIndex:
    """Programs in the order they were added."""

    def __init__(self, similarity: float) -> None:
        self._similarity = similarity
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=LSH_BANDS_ROWS)
        self._programs: list[tuple[str, str]] = []
        """(token string, name) of each"""
        self._lengths = np.zeros(1024, np.int64)
        self._counts = np.zeros((1024, _BINS), np.uint16)
        """[program, bin]; rows beyond the programs are spare"""
        self._latest: tuple[Fingerprint, LeanMinHash, NDArray[np.uint16]] | None = None
        """What is looked for is usually added next."""

    def add(self, print_: Fingerprint, name: str) -> None:
        index = len(self._programs)
        if index == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._lengths[index] = len(print_.tokens)
        minhash, self._counts[index] = self._forms(print_)
        self._lsh.insert(index, minhash, check_duplication=False)
        self._programs.append((print_.tokens, name))

    def find(self, print_: Fingerprint) -> str:
        """The name of the first program added that ``print_`` is an edited copy of; empty if there is none."""
        minhash, counts = self._forms(print_)
        candidates = np.array(self._lsh.query(minhash), dtype=np.int64)
        for index in np.sort(self._possible(len(print_.tokens), counts, candidates)).tolist():
            tokens, name = self._programs[index]
            if Indel.normalized_similarity(print_.tokens, tokens, score_cutoff=self._similarity) > 0:
                return name
        return ""

    def _possible(
        self, length: int, counts: NDArray[np.uint16], candidates: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        lengths = self._lengths[candidates]
        needed = (lengths + length) * (self._similarity / 2) - _ROUNDING
        fits = np.minimum(lengths, length) >= needed
        candidates, needed = candidates[fits], needed[fits]
        common = np.minimum(self._counts[candidates], counts).sum(axis=1)
        return candidates[common >= needed]

    def _forms(self, print_: Fingerprint) -> tuple[Any, NDArray[np.uint16]]:
        if self._latest is None or self._latest[0] is not print_:
            codes = np.frombuffer(print_.tokens.encode("utf-32-le"), dtype=np.uint32)
            counts = np.bincount(codes % _BINS, minlength=_BINS).astype(np.uint16)
            self._latest = print_, print_.minhash(), counts
        return self._latest[1:]
