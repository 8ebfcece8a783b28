"""Keeps evaluation items out of the pool: every program is compared with every item of every probe and evaluation file.

The comparison is exhaustive, not by LSH, so nothing slips through by chance: counts of shared token 5-grams
come from one sparse matrix product. With G(x) the set of 5-grams of the canonical form, program p counts as
leaked from item e when

    |G(p) & G(e)| / |G(p) | G(e)| >= similarity                        (a copy, renamed or edited), or
    |G(p) & G(e)| / |G(e)| >= CONTAINMENT and |G(e)| >= MIN_GRAMS      (the item inside a larger program), or
    the token edit similarity of p and e is >= EDITED                  (a short copy, of whose 5-grams few survive an edit).

The threshold is lower than that for duplicates: a lost task costs little, a leaked one makes every later
figure worthless.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz.distance import Indel
from scipy import sparse

from azr.data.fingerprints import Fingerprint, fingerprint_all, fingerprint_and_grams, gram_hashes
from azr.data.phases import with_lines
from azr.data.readers import read_rows
from azr.data.spread import spread
from azr.errors import DataError

CONTAINMENT = 0.8
MIN_GRAMS = 25
"""5-grams from which an item is long enough that finding most of it inside a program is not an accident."""
EDITED = 0.85
CANDIDATE_JACCARD = 0.25
"""Least 5-gram similarity from which the edit similarity is looked at."""
MIN_TOKENS = 12
"""Shorter items (a bare ``return x``) are matched by equality after renaming only."""
_CHUNK = 2000
_PROGRAM_TEXT = re.compile(r"^[ \t]*(?:def|class|async def)[ ]+\w+", re.MULTILINE)
_FENCE = re.compile(r"```(?:python|py)?\n(.*?)```", re.DOTALL)

Grams = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class EvaluationItem:
    name: str
    """``file name:row``."""
    source: str


def evaluation_items(files: Iterable[Path]) -> list[EvaluationItem]:
    """Every program text in every row of the files, whatever the columns are called.

    Raises:
        DataError: a file is missing, or it or one of its rows cannot be read: nothing could be kept out that
            is like it.
    """
    items: list[EvaluationItem] = []
    for file in files:
        for row in read_rows(file):
            if row.record is None:
                raise DataError(
                    f"{file}, {row.place}: {row.problem}; what cannot be read cannot be kept out of training, so correct it"
                )
            for text in _program_texts(row.record):
                items.append(EvaluationItem(f"{file.name}:{row.line}", text))
    return items


def _program_texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        if _PROGRAM_TEXT.search(value):
            fenced = [block for block in _FENCE.findall(value) if _PROGRAM_TEXT.search(block)]
            yield from fenced or [value]
    elif isinstance(value, dict):
        # HumanEval: head and body apart
        if isinstance(value.get("prompt"), str) and isinstance(value.get("canonical_solution"), str):
            yield value["prompt"] + value["canonical_solution"]
            value = {key: item for key, item in value.items() if key not in ("prompt", "canonical_solution")}
        for item in value.values():
            yield from _program_texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _program_texts(item)


class LeakIndex:
    """The evaluation items, ready to be compared with many programs."""

    def __init__(self, items: Sequence[EvaluationItem], similarity: float, *, workers: int = 0) -> None:
        prints = fingerprint_all((item.source for item in items), workers=workers)
        self._similarity = similarity
        self._canonical = {prints[item.source].canonical: item.name for item in items}
        long = [item for item in items if len(prints[item.source].tokens) >= MIN_TOKENS]
        self._names = [item.name for item in long]
        self._tokens = [prints[item.source].tokens for item in long]
        grams = [gram_hashes(tokens) for tokens in self._tokens]
        self._vocabulary = np.unique(np.concatenate(grams)) if grams else np.zeros(0, np.uint64)
        self._sizes = np.array([len(gram) for gram in grams], dtype=np.float64)
        self._matrix = self._rows(grams).T.tocsr()  # [grams of the items, items]

    def __len__(self) -> int:
        return len(self._names)

    def _rows(self, grams: Sequence[Grams]) -> sparse.csr_matrix:
        """0/1 matrix [programs, vocabulary]; grams that no evaluation item has are left out."""
        columns, ends = [], [0]
        for gram in grams:
            at = np.searchsorted(self._vocabulary, gram)
            inside = at < len(self._vocabulary)
            at, gram = at[inside], gram[inside]
            at = at[self._vocabulary[at] == gram]
            columns.append(at)
            ends.append(ends[-1] + len(at))
        flat = np.concatenate(columns) if columns else np.zeros(0, np.int64)
        cells, shape = (np.ones(len(flat), np.float32), flat, ends), (len(grams), len(self._vocabulary))
        return sparse.csr_matrix(cells, shape=shape)

    def leak(self, source: str) -> str:
        """The name of the item that one program resembles most, or an empty text."""
        print_, grams = fingerprint_and_grams(source)
        return self.leaks([print_], [grams])[0]

    def leaks(self, prints: Sequence[Fingerprint], grams: Sequence[Grams] | None = None) -> list[str]:
        """For each program the name of the item it resembles most, or an empty text.

        Args:
            grams: the programs' ``gram_hashes``, where they are known.
        """
        grams = [gram_hashes(print_.tokens) for print_ in prints] if grams is None else grams
        result = [self._canonical.get(print_.canonical, "") for print_ in prints]
        for start in range(0, len(prints) if self._names else 0, _CHUNK):
            here = slice(start, start + _CHUNK)
            for index, name in self._chunk_leaks(prints[here], grams[here]):
                result[start + index] = result[start + index] or name
        return result

    def _chunk_leaks(self, chunk: Sequence[Fingerprint], grams: Sequence[Grams]) -> Iterable[tuple[int, str]]:
        shared = (self._rows(grams) @ self._matrix).tocoo()
        rows, columns, count = shared.row, shared.col, shared.data.astype(np.float64)
        sizes = np.array([len(gram) for gram in grams], dtype=np.float64)
        jaccard = count / (sizes[rows] + self._sizes[columns] - count)
        contained = (count / self._sizes[columns] >= CONTAINMENT) & (self._sizes[columns] >= MIN_GRAMS)
        leaked = (jaccard >= self._similarity) | contained
        for at in np.flatnonzero(leaked | (jaccard >= CANDIDATE_JACCARD)):
            row, column = int(rows[at]), int(columns[at])
            tokens, item, least = chunk[row].tokens, self._tokens[column], max(EDITED, self._similarity)
            if leaked[at] or Indel.normalized_similarity(tokens, item, score_cutoff=least) > 0:
                yield row, self._names[column]


def fingerprint_sources(
    sources: Iterable[str],
    evaluation: Iterable[Path],
    similarity: float,
    *,
    workers: int = 0,
) -> tuple[dict[str, Fingerprint], dict[str, str]]:
    """Fingerprints by source text, and the evaluation item that each source resembles, for those that resemble one.

    Both come from one pass, because both take time that can be spread over processes.

    Raises:
        DataError: an evaluation file is missing or cannot be read.
    """
    distinct = list(dict.fromkeys(sources))
    index = LeakIndex(evaluation_items(evaluation), similarity, workers=workers)
    examined = spread(functools.partial(_examine, index), distinct, workers)
    found = dict(zip(distinct, with_lines(examined, "fingerprints and leaks", len(distinct)), strict=True))
    prints = {source: print_ for source, (print_, _) in found.items()}
    return prints, {source: name for source, (_, name) in found.items() if name}


def _examine(index: LeakIndex, sources: Sequence[str]) -> list[tuple[Fingerprint, str]]:
    both = [fingerprint_and_grams(source) for source in sources]
    prints = [print_ for print_, _ in both]
    return list(zip(prints, index.leaks(prints, [grams for _, grams in both]), strict=True))
