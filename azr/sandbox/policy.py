"""What programs may import, per profile, and how the clock is hidden from deterministic ones.

Standard library only: this runs in the zygote, before it is confined.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class ClockError(RuntimeError):
    """A deterministic program asked for the date or the time."""


SELFPLAY_MODULES = (
    "__future__", "abc", "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "collections.abc",
    "colorsys", "contextlib", "copy", "dataclasses", "datetime", "decimal", "difflib", "enum", "fractions", "functools",
    "graphlib", "heapq", "itertools", "json", "keyword", "math", "numbers", "operator", "pprint", "re", "statistics",
    "string", "struct", "sys", "textwrap", "types", "typing", "unicodedata", "zlib",
)  # fmt: skip
"""The deterministic standard library that models use."""

EVALUATE_MODULES = (
    "ast", "builtins", "copyreg", "csv", "hashlib", "hmac", "html", "inspect", "io", "ipaddress", "locale", "os",
    "os.path", "pickle", "queue", "random", "secrets", "shlex", "string", "time", "timeit", "token", "tokenize",
    "traceback", "urllib.parse", "uuid", "warnings", "weakref",
)  # fmt: skip
"""What benchmarks need beside it."""

_NEEDED_LATER = (
    "_strptime", "encodings.ascii", "encodings.cp1252", "encodings.hex_codec", "encodings.idna", "encodings.latin_1",
    "encodings.raw_unicode_escape", "encodings.rot_13", "encodings.base64_codec", "encodings.unicode_escape",
    "encodings.utf_16", "encodings.utf_16_be", "encodings.utf_16_le", "encodings.utf_32", "encodings.utf_8_sig",
    "encodings.punycode", "json.decoder", "json.encoder", "linecache",
)  # fmt: skip
"""Modules that the standard library imports when a function is first called; afterwards no file can be opened."""

_SAFE_SYS = (
    "byteorder", "exc_info", "float_info", "float_repr_style", "getrecursionlimit", "getsizeof", "hash_info",
    "int_info", "intern", "maxsize", "maxunicode", "setrecursionlimit", "version", "version_info", "stdin", "stdout",
    "stderr", "exit", "get_int_max_str_digits", "set_int_max_str_digits",
)  # fmt: skip


@contextlib.contextmanager
def no_fork_hooks() -> Iterator[None]:
    """Modules imported within (random, threading and others) cannot hook themselves into fork, which would
    cost up to 170 page faults in every program's process. Whoever imports them first must do it within."""
    register_at_fork = os.register_at_fork
    os.register_at_fork = lambda **hooks: None  # type: ignore[assignment]
    try:
        yield
    finally:
        os.register_at_fork = register_at_fork


def load_modules() -> tuple[dict[str, ModuleType], dict[str, ModuleType]]:
    """Imports everything programs may use; returns the modules of the selfplay and of the evaluate profile."""
    sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type] - OpenSSL: hashlib has built-in digests
    with no_fork_hooks():
        for name in _NEEDED_LATER:
            importlib.import_module(name)
        selfplay = {name: importlib.import_module(name) for name in SELFPLAY_MODULES}
        evaluate = {**selfplay, **{name: importlib.import_module(name) for name in EVALUATE_MODULES}}
    facade = ModuleType("sys", "The parts of sys that do not depend on the machine's state.")
    for name in _SAFE_SYS:
        if hasattr(sys, name):
            setattr(facade, name, getattr(sys, name))
    facade.__dict__.update(argv=[""], path=[], modules={})
    selfplay["sys"] = facade
    return selfplay, evaluate


def refuse_later_imports() -> None:
    """Nothing can be read from disk any more: say so at once instead of asking the kernel."""
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.meta_path.clear()


_Slots = list[tuple[type, dict[str, Any], str, Any]]


def stop_clock() -> _Slots:
    """``datetime.now``, ``utcnow`` and ``today`` raise ClockError; returns what ``start_clock`` puts back.

    The types are static C types, so their dictionaries are reached through the garbage collector.
    """
    import datetime

    replaced: _Slots = []
    for kind, names in ((datetime.datetime, ("now", "utcnow")), (datetime.date, ("today",))):
        members = next(item for item in gc.get_referents(kind.__dict__) if type(item) is dict)
        for name in names:
            replaced.append((kind, members, name, members[name]))
            members[name] = classmethod(_clock_refusal(f"{kind.__name__}.{name}"))
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
    return replaced


def start_clock(replaced: _Slots) -> None:
    for kind, members, name, original in replaced:
        members[name] = original
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))


def _clock_refusal(name: str) -> Any:
    def refuse(*arguments: Any, **keywords: Any) -> Any:
        raise ClockError(f"{name} is not deterministic")

    return refuse
