"""Work on many items spread over processes, in order; they end with the call or with our process."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from typing import Any, TypeVar

from azr.system.processes import watch_parent
from azr.system.resources import usable_cores

PARALLEL_FROM = 3000
"""Items from which starting worker processes (about 1 s) pays."""
_CHUNK = 250

Item = TypeVar("Item")
Result = TypeVar("Result")
_work: Callable[[Sequence[Any]], Sequence[Any]] | None = None
"""In a worker process: what it does with a chunk."""


def spread(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item], workers: int = 0
) -> Iterator[Result]:
    """Yields a result for each item, in their order.

    Args:
        work: gives the results of a chunk of items. It goes to each worker process once, so it may hold data (a
            bound method, a partial); it must be picklable.
        workers: processes; 0 = one a core. Few items are done here.
    """
    workers = workers or usable_cores()
    chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
    if workers == 1 or len(items) < PARALLEL_FROM:
        yield from chain.from_iterable(map(work, chunks))
        return
    # spawn: our own process may hold threads and locks that a fork would copy
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(os.getpid(), work)
    ) as pool:
        yield from chain.from_iterable(pool.map(_one_chunk, chunks))


def _start(parent: int, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    """A killed parent cannot end its workers, so each watches for itself."""
    global _work
    _work = work
    watch_parent(parent, lambda: os._exit(1), poll_s=0.5)
    gc.disable()  # syntax trees are many small objects without cycles, and looking through them takes a quarter of the time


def _one_chunk(chunk: Sequence[Any]) -> Sequence[Any]:
    assert _work is not None
    result = _work(chunk)
    gc.collect(0)
    return result
