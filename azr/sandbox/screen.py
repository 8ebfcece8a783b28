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
import sys
from collections import defaultdict
from types import ModuleType
from typing import Any

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
_TRIES = (ast.Try, *([ast.TryStar] if sys.version_info >= (3, 11) else []))
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


# fmt: off
_NO_NODES = frozenset((
    "ctx", "op", "ops", "id", "attr", "asname", "module", "level", "type_comment", "type_ignores", "kind", "is_async", "conversion",
    "simple",
))
# fmt: on
"""Fields without syntax nodes, or with such as say nothing of their own."""
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {
    kind: tuple(name for name in kind._fields if name not in _NO_NODES)
    for kind in vars(ast).values()
    if isinstance(kind, type) and issubclass(kind, ast.AST) and kind is not ast.Constant
} | {ast.Constant: ()}

_Nodes = dict[type[ast.AST], list[Any]]


def examine(code: str) -> tuple[int, ast.Module | None]:
    """The three bits, and the tree if it has the third. What cannot be parsed, or is long, is only order-sensitive."""
    if len(code) > MAX_CHARS:
        return ORDER_SENSITIVE, None
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ORDER_SENSITIVE, None
    count, nodes = _nodes_of(tree)
    flags = ORDER_SENSITIVE if _order_sensitive(nodes) else 0
    if count > MAX_NODES:
        return flags, None
    # the compiler copies the body of every ``finally``, those within it included: nested ones grow exponentially
    if not any(node.finalbody for kind in _TRIES for node in nodes[kind]):
        flags |= COMPILE_EARLY
    try:
        _Screen(nodes).check()
        flags |= HARMLESS
    except _Refused:
        pass
    return flags, tree if flags & COMPILE_EARLY else None


def _nodes_of(tree: ast.Module) -> tuple[int, _Nodes]:
    """How many syntax nodes there are, operators apart, and which of each class."""
    nodes: _Nodes = defaultdict(list)
    todo: list[ast.AST] = [tree]
    for node in todo:
        kind = type(node)
        nodes[kind].append(node)
        for name in _FIELDS[kind]:
            value = getattr(node, name)
            if isinstance(value, ast.AST):
                todo.append(value)
            elif type(value) is list:
                todo += [item for item in value if isinstance(item, ast.AST)]
    return len(todo), nodes


def _order_sensitive(nodes: _Nodes) -> bool:
    if nodes[ast.Set] or nodes[ast.SetComp]:
        return True
    for node in nodes[ast.Name]:
        if node.id in _ORDER_NAMES:
            return True
    for node in nodes[ast.Attribute]:
        if node.attr in _ORDER_ATTRIBUTES:
            return True
    for node in nodes[ast.BinOp]:
        # views of dictionaries become sets under these operators
        if isinstance(node.op, (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)) and (_is_view(node.left) or _is_view(node.right)):
            return True
    return False


def _is_view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _is_store_on(node: ast.Attribute, receiver: str | None) -> bool:
    return isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == receiver


class _Screen:
    def __init__(self, nodes: _Nodes) -> None:
        self.nodes = nodes
        self.modules: dict[str, str] = {}
        """Local name -> imported module."""
        self.class_members: set[str] = set()
        """Public names of the imported classes."""
        self.own: set[str] = set()
        """Attribute names that the program's own classes define."""

    def check(self) -> None:
        nodes = self.nodes
        if any(nodes[kind] for kind in _REFUSED_NODES):
            raise _Refused
        for node in nodes[ast.Import]:
            self._import(node)
        for node in nodes[ast.ImportFrom]:
            self._import_from(node)
        decorators: set[ast.AST] = set()
        for node in nodes[ast.ClassDef]:
            self._class(node)
            decorators.update(item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
        bases: set[ast.AST] = set()
        for node in nodes[ast.Attribute]:
            self._attribute(node, bases, decorators)
        for node in nodes[ast.Name]:
            self._name(node, bases, decorators)
        for kind in (ast.FunctionDef, ast.ClassDef):
            for node in nodes[kind]:
                self._definition(node)
        for node in nodes[ast.arg]:
            self._bound(node.arg)
        for kind in (ast.ExceptHandler, ast.MatchAs, ast.MatchStar):
            for node in nodes[kind]:
                self._bound(node.name)
        for node in nodes[ast.MatchMapping]:
            self._bound(node.rest)
        for node in nodes[ast.MatchClass]:
            if any(name.startswith("_") for name in node.kwd_attrs):
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
