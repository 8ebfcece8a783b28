"""Which programs may share a process with others, decided on their syntax tree.

A harmless program uses a closed part of the language: it names no introspection, no modules as values, no private
attribute that it did not define, and stores attributes only under names of its own that no imported class has. It
cannot then change what its neighbours import. A mistake here endangers neighbours, never the host: those lines are
the kernel's. Two more lines stand behind it: the fingerprint of the process after every program, and the second run
of the neighbours in the opposite order.

Runs in the zygote. Standard library only.
"""

from __future__ import annotations

import ast
import importlib
from types import ModuleType

from azr.sandbox import policy

HARMLESS, ORDER_SENSITIVE, COMPILE_EARLY = 1, 2, 4
"""May share a process; has something to do with hash order, so that more seeds must agree; cannot make the compiler take
long, so that the zygote may compile it."""

MAX_CHARS = 8000
MAX_NODES = 4000

# fmt: off
_WHOLE_MODULES = (
    "base64", "binascii", "bisect", "cmath", "collections", "collections.abc", "fractions", "functools", "heapq", "itertools", "math",
    "numbers", "operator", "re", "statistics", "textwrap", "typing", "zlib",
)
# fmt: on
_PARTS = {
    "__future__": {"annotations"},
    "abc": {"ABC", "abstractmethod"},
    "contextlib": {"contextmanager", "nullcontext", "suppress"},
    "copy": {"copy", "deepcopy"},
    "dataclasses": {"dataclass", "field", "asdict", "astuple", "replace"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "enum": {"Enum", "IntEnum", "Flag", "IntFlag", "auto", "unique"},
    "json": {"dumps", "loads"},
    "string": {
        "ascii_letters",
        "ascii_lowercase",
        "ascii_uppercase",
        "capwords",
        "digits",
        "hexdigits",
        "octdigits",
        "punctuation",
        "whitespace",
    },
    "struct": {"calcsize", "pack", "unpack"},
    "sys": {"maxsize", "setrecursionlimit", "getrecursionlimit", "float_info"},
    "types": {"SimpleNamespace"},
}
_NEVER = {"attrgetter", "methodcaller", "get_type_hints", "ForwardRef", "no_type_check", "singledispatch", "update_wrapper", "wraps"}
_ONLY_AS_DECORATOR = frozenset(("dataclass", "total_ordering"))
"""They change the class that they are called with, which must therefore be the program's own."""

# fmt: off
_FORBIDDEN_NAMES = frozenset((
    "open", "exec", "eval", "compile", "globals", "locals", "vars", "dir", "getattr", "setattr", "delattr", "input", "breakpoint",
    "memoryview", "help", "exit", "quit", "copyright", "credits", "license",
))
_ORDER_NAMES = frozenset(("set", "frozenset", "hash", "id", "object"))
_ORDER_ATTRIBUTES = frozenset(("union", "intersection", "difference", "symmetric_difference"))
_FORBIDDEN_ATTRIBUTES = frozenset(("register", "mro", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "f_globals", "f_locals",
    "f_back", "f_builtins", "tb_frame", "tb_next", "func_globals"))
_LOADABLE_DUNDERS = frozenset(("__init__", "__name__", "__str__", "__repr__", "__len__", "__eq__", "__lt__", "__iter__", "__next__",
    "__getitem__", "__contains__"))
_METHODS = frozenset(("__init__", "__post_init__", "__str__", "__repr__", "__len__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__",
    "__ge__", "__hash__", "__iter__", "__next__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__call__", "__add__",
    "__radd__", "__iadd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__floordiv__", "__mod__", "__pow__", "__neg__",
    "__pos__", "__abs__", "__invert__", "__and__", "__or__", "__xor__", "__bool__", "__int__", "__float__", "__index__", "__enter__",
    "__exit__", "__reversed__", "__missing__"))
_REFUSED_NODES = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
# fmt: on


class _Refused(Exception):
    """Not harmless."""


def _public(module: ModuleType) -> frozenset[str]:
    """Names of functions, classes and constants that a program cannot change."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return frozenset(
        name for name in names if name not in _NEVER and not isinstance(getattr(module, name, None), (ModuleType, list, dict, set))
    )


with policy.no_fork_hooks():
    _TABLE: dict[str, frozenset[str]] = {name: _public(importlib.import_module(name)) for name in _WHOLE_MODULES}
_TABLE |= {name: frozenset(parts) for name, parts in _PARTS.items()}


def examine(code: str) -> int:
    """The three bits. What cannot be parsed, or is long, is only order-sensitive."""
    if len(code) > MAX_CHARS:
        return ORDER_SENSITIVE
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ORDER_SENSITIVE
    nodes = list(ast.walk(tree))
    flags = ORDER_SENSITIVE if any(map(_order_sensitive, nodes)) else 0
    if len(nodes) > MAX_NODES:
        return flags
    # the compiler copies the body of every ``finally``, those within it included: nested ones grow exponentially
    if not any(getattr(node, "finalbody", None) for node in nodes):
        flags |= COMPILE_EARLY
    try:
        _Screen(nodes).check()
    except _Refused:
        return flags
    return flags | HARMLESS


def _order_sensitive(node: ast.AST) -> bool:
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.Name):
        return node.id in _ORDER_NAMES
    if isinstance(node, ast.Attribute):
        return node.attr in _ORDER_ATTRIBUTES
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)):
        # views of dictionaries become sets under these operators
        return any(_is_view(side) for side in (node.left, node.right))
    return False


def _is_view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _is_store_on(node: ast.Attribute, receiver: str | None) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == receiver


class _Screen:
    def __init__(self, nodes: list[ast.AST]) -> None:
        self.nodes = nodes
        self.modules: dict[str, str] = {}
        """Local name -> imported module."""
        self.class_members: set[str] = set()
        """Public names of the imported classes."""
        self.own: set[str] = set()
        """Attribute names that the program's own classes define."""

    def check(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.Import):
                self._import(node)
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom):
                self._import_from(node)
            elif isinstance(node, ast.ClassDef):
                self._class(node)
        decorators: set[ast.AST] = set()
        for node in self.nodes:
            if isinstance(node, ast.ClassDef):
                decorators.update(item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
        bases: set[ast.AST] = set()
        for node in self.nodes:
            if isinstance(node, ast.Attribute):
                self._attribute(node, bases, decorators)
        for node in self.nodes:
            if isinstance(node, ast.Name):
                self._name(node, bases, decorators)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self._definition(node)
            elif isinstance(node, ast.arg):
                self._bound(node.arg)
            elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
                self._bound(node.name)
            elif isinstance(node, ast.MatchMapping):
                self._bound(node.rest)
            elif isinstance(node, ast.MatchClass):
                if any(name.startswith("_") for name in node.kwd_attrs):
                    raise _Refused
            elif isinstance(node, _REFUSED_NODES):
                raise _Refused

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name not in _TABLE or "." in alias.name:
                raise _Refused
            self.modules[alias.asname or alias.name] = alias.name

    def _import_from(self, node: ast.ImportFrom) -> None:
        if node.level or node.module not in _TABLE:
            raise _Refused
        for alias in node.names:
            if alias.name not in _TABLE[node.module]:
                raise _Refused
            if alias.name in _ONLY_AS_DECORATOR and alias.asname:
                raise _Refused
            self._bound(alias.asname or alias.name)
            self._members_of(node.module, alias.name)

    def _members_of(self, module: str, name: str) -> None:
        item = getattr(importlib.import_module(module), name, None)
        if isinstance(item, type):
            self.class_members.update(dir(item))

    def _class(self, node: ast.ClassDef) -> None:
        if node.keywords:
            raise _Refused
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                self.own.add(statement.name)
                receiver = statement.args.args[0].arg if statement.args.args else None
                for inner in ast.walk(statement):
                    if isinstance(inner, ast.Attribute) and _is_store_on(inner, receiver):
                        self.own.add(inner.attr)
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                self.own.add(statement.target.id)
            elif isinstance(statement, ast.Assign):
                self.own.update(target.id for target in statement.targets if isinstance(target, ast.Name))

    def _attribute(self, node: ast.Attribute, bases: set[ast.AST], decorators: set[ast.AST]) -> None:
        name = node.attr
        if name in _ONLY_AS_DECORATOR and node not in decorators:
            raise _Refused
        if isinstance(node.value, ast.Name) and node.value.id in self.modules:
            module = self.modules[node.value.id]
            if not isinstance(node.ctx, ast.Load) or name not in _TABLE[module]:
                raise _Refused
            self._members_of(module, name)
            bases.add(node.value)
            return
        if name in _FORBIDDEN_ATTRIBUTES:
            raise _Refused
        private = name.startswith("_") and not (name in _LOADABLE_DUNDERS and isinstance(node.ctx, ast.Load))
        if private and (name.startswith("__") or name.endswith("_") or name not in self.own):
            raise _Refused
        if not isinstance(node.ctx, ast.Load) and (name not in self.own or name in self.class_members):
            raise _Refused

    def _name(self, node: ast.Name, bases: set[ast.AST], decorators: set[ast.AST]) -> None:
        name = node.id
        if name in _ONLY_AS_DECORATOR and node not in decorators:
            raise _Refused
        if name in self.modules and node not in bases:
            raise _Refused
        if name in _FORBIDDEN_NAMES and isinstance(node.ctx, ast.Load):
            raise _Refused
        if name.startswith("__") and name not in ("__name__", "__slots__"):
            raise _Refused

    def _definition(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        if node.name.startswith("__") and node.name not in _METHODS:
            raise _Refused
        self._bound(node.name)

    def _bound(self, name: str | None) -> None:
        """A name bound by a definition, parameter or handler must not hide an imported module (the checks go by name)."""
        if name is not None and name in self.modules:
            raise _Refused
