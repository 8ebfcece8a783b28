"""Notices that a program changed a module or a class that its neighbours in the same process use.

CPython gives every dictionary a version that changes with each write (``ma_version_tag``, CPython 3.10 to 3.12).
Reading it touches no reference count of theirs, so a check costs tens of microseconds and copies few pages of the forked process.
Standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from types import ModuleType

_VERSION_OFFSET = 24
"""Of ``ma_version_tag`` in PyDictObject: after the reference count, the type and the number of items."""


class Fingerprint:
    """Versions of the dictionaries of all loaded modules and of the classes written in Python that they hold."""

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        watched: dict[int, dict[str, object]] = {}
        for module in [*sys.modules.values(), *modules.values()]:
            if isinstance(module, ModuleType):
                watched[id(module.__dict__)] = module.__dict__
                for item in list(vars(module).values()):
                    if isinstance(item, type) and item.__flags__ & (1 << 9):  # a class that can be changed
                        members = next((part for part in gc.get_referents(item.__dict__) if type(part) is dict), None)
                        if members is not None:
                            watched[id(members)] = members
        self._kept = list(watched.values())
        self._cells = [(ctypes.c_char * 8).from_address(id(members) + _VERSION_OFFSET) for members in self._kept]
        self._before = b""
        self.take()

    def take(self) -> None:
        """Remembers the present state as the good one."""
        self._before = b"".join(self._cells)

    def changed(self) -> bool:
        return b"".join(self._cells) != self._before


def works() -> bool:
    """Whether this interpreter has the versions where we look for them; without, no program may share a process."""
    if sys.implementation.name != "cpython":
        return False
    probe: dict[str, object] = {"a": 1}
    cell = ctypes.c_uint64.from_address(id(probe) + _VERSION_OFFSET)
    versions = [cell.value]
    probe["a"] = 2
    versions.append(cell.value)
    probe["b"] = 3
    versions.append(cell.value)
    probe.get("a")
    return len(set(versions)) == 3 and cell.value == versions[-1]
