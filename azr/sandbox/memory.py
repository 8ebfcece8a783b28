"""Where the zygote's objects lie. A fork shares every page until one side writes to it; then the page is copied.

CPython writes to each object that it looks at (the reference count), so what every program and the zygote itself use
should lie on few pages. After many imports the heap is full of holes, and whatever is made next is strewn over all of
it. So the holes are filled for good before the hot modules are imported, and once more before the first fork: what
is made afterwards lies close together. Standard library only.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from itertools import repeat

_POOL = 1 << 14
_FIRST = 48
"""Of the interpreter's allocator (3.10 to 3.12): the size of a pool of equal blocks, and the offset of its first one."""
_SIZES = range(512, 0, -16)
_MAX_CHUNKS = 200
"""Give up on a size after so many: the allocator is not the one we know."""
_C_SIZES = (65536, 32768, 16384, 8192, 4096, 3072, 2048, 1536, 1280, 1024, 896, 768, 704, 640, 592, 560, 544, 528)
_MAX_C_BLOCKS = 4000

_forever: list[list[object]] = []


def fill_holes() -> None:
    """Harmless, and of no use, where the allocator is another one."""
    if sys.implementation.name == "cpython":
        for size in _SIZES:
            _forever.append(_fill(size))
        _fill_c_heap()


def _makers(size: int, count: int) -> Callable[[], list[object]]:
    if size == 16:
        return lambda: [object() for _ in repeat(None, count)]
    if size == 32:
        return lambda: list(range(1 << 29, (1 << 29) + count))
    return lambda: [bytes(size - bytes.__basicsize__) for _ in repeat(None, count)]


def _fill(size: int) -> list[object]:
    """Takes blocks of one size until the allocator fills a new pool from its first to its last: then no hole was left."""
    in_pool = (_POOL - _FIRST) // size
    make = _makers(size, 2 * in_pool)
    kept: list[object] = []
    for _ in range(_MAX_CHUNKS):
        blocks = make()
        addresses = [id(block) for block in blocks]
        for start in range(in_pool + 1):
            if addresses[start] % _POOL == _FIRST and addresses[start + in_pool - 1] - addresses[start] == (in_pool - 1) * size:
                return kept + blocks[:start]
        kept += blocks
    return []


def _fill_c_heap() -> None:
    """The same for the C library's blocks, which are the larger ones: takes what lies below the end of its heap."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    probes = [libc.malloc(120_000) for _ in range(4)]
    end = max(probes)
    for probe in probes:
        libc.free(probe)
    for size in _C_SIZES:
        for _ in range(_MAX_C_BLOCKS):
            block = libc.malloc(size - 8)
            if block >= end:
                libc.free(block)
                break
