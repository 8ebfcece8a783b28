"""Values as text: a canonical writer, a reader that never evaluates, and type-aware equality.

A value is None, bool, int, float, complex, str, bytes, tuple, list, dict, set or frozenset of exactly these
types (no subclass), nested at will within the caps below. Its canonical text is what ``repr`` gives, with the
elements of sets in a fixed order. Standard library only: the confined processes import this module too.

The reader lets Python parse the text and takes literals alone from the tree, as a model writes them (any
spacing, trailing commas, comments, escapes, ``set()``, ``float('inf')``, ``dict(a=1)``); ``read`` in addition
demands that the text is canonical.
"""

from __future__ import annotations

import ast
import math
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from azr.programs.syntax_tree import parse_tree

MAX_CHARS = 65536
"""Longest text that is written or read, unless the caller says otherwise."""
MAX_DEPTH = 64
MAX_ITEMS = 20_000
MAX_INT_BITS = 13_000
"""About 3,900 digits; CPython itself refuses to convert more than 4,300, also where ``PYTHONINTMAXSTRDIGITS`` says fewer."""
if hasattr(sys, "set_int_max_str_digits"):  # from 3.10.7 on
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)


class ValueReadError(ValueError):
    """The text is not a literal, is not canonical where it has to be, or exceeds a cap."""


class ValueWriteError(ValueError):
    """The value has no canonical text: a type that is not allowed, or a cap exceeded. The message says which."""


# The program under test shares a process with the writer and may have replaced builtins.
_type, _repr, _len, _sorted, _str, _int = type, repr, len, sorted, str, int
_type_name = type.__dict__["__name__"].__get__


# --------------------------------------------------------------------------------------------------- writing


class _Writer:
    __slots__ = ("chars", "items", "max_chars")

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars
        self.chars = 0
        self.items = 0

    def write(self, value: Any, depth: int) -> str:
        kind = _type(value)
        if kind in _SIMPLE:
            if kind is _int and value.bit_length() > MAX_INT_BITS:
                raise ValueWriteError(f"an integer of {value.bit_length()} bits; at most {MAX_INT_BITS}")
            if (kind is _str or kind is bytes) and _len(value) > self.max_chars:
                raise ValueWriteError(f"a text of {_len(value)} characters; at most {self.max_chars}")
            return self._count(_repr(value))

        opening_closing = _BRACKETS.get(kind)
        if opening_closing is None:
            raise ValueWriteError(f"type {type_name(kind)} has no canonical text")
        if depth >= MAX_DEPTH:
            raise ValueWriteError(f"nested deeper than {MAX_DEPTH}")
        self.items += _len(value)
        if self.items > MAX_ITEMS:
            raise ValueWriteError(f"more than {MAX_ITEMS} items")
        depth += 1

        if kind is dict:
            texts = [self.write(key, depth) + ": " + self.write(item, depth) for key, item in value.items()]
        elif kind is set or kind is frozenset:
            texts = self._set(value, depth)
            if not texts:
                return self._count("set()" if kind is set else "frozenset()")
        else:
            texts = [self.write(item, depth) for item in value]
            if kind is tuple and _len(texts) == 1:
                return self._count("(" + texts[0] + ",)")
        self.chars += 2 * _len(texts)
        return self._count(opening_closing[0], opening_closing[0] + ", ".join(texts) + opening_closing[1])

    def _set(self, value: Any, depth: int) -> list[str]:
        kinds = {_type(item) for item in value}
        if kinds == {_int} or kinds == {_str}:
            return [self.write(item, depth) for item in _sorted(value)]
        return _sorted([self.write(item, depth) for item in value])

    def _count(self, text: str, result: str | None = None) -> str:
        self.chars += _len(text)
        if self.chars > self.max_chars:
            raise ValueWriteError(f"a value of more than {self.max_chars} characters")
        return text if result is None else result


_SIMPLE = frozenset({_type(None), bool, _int, float, complex, _str, bytes})
_BRACKETS = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    dict: ("{", "}"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def type_name(kind: type) -> str:
    """The class's own name, without calling anything its author could have written; letters and digits only,
    at most 80."""
    name = _type_name(kind)
    if _type(name) is _str:
        return "".join([letter for letter in name[:80] if letter.isalnum() or letter == "_"])
    return "object"


def canonical(value: Any, max_chars: int = MAX_CHARS) -> str:
    """The canonical text of a *value* (of a text in the sense of a str: its repr). For literal texts:
    ``canonical_text``.

    Raises:
        ValueWriteError: a type without canonical text, or too large, deep, long or many.
    """
    return _Writer(max_chars).write(value, 0)


# --------------------------------------------------------------------------------------------------- reading

_SOURCE = "<literal>"
# of unknown escapes in it, as in "\\d"; set once, for all threads
warnings.filterwarnings("ignore", module=_SOURCE)
_CONSTANTS = frozenset({_type(None), bool, float, complex, _str, bytes})
_FLOATS = {"nan": math.nan, "inf": math.inf}
_IMAGINARY = {"nanj": math.nan, "infj": math.inf}
_COLLECTIONS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_ITERABLE = frozenset({list, tuple, set, frozenset, dict, str, bytes})


class _LiteralReader:
    """The value of a syntax tree of literals. Every kind of node that is let in is named here."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items = 0

    def value(self, node: ast.AST, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueReadError(f"nested deeper than {MAX_DEPTH}")
        kind = type(node)
        if kind is ast.Constant:
            return _constant(node.value)  # type: ignore[attr-defined]
        if kind is ast.List:
            return self.sequence(node.elts, depth)  # type: ignore[attr-defined]
        if kind is ast.Tuple:
            return tuple(self.sequence(node.elts, depth))  # type: ignore[attr-defined]
        if kind is ast.Set:
            return _hashable(set, self.sequence(node.elts, depth))  # type: ignore[attr-defined]
        if isinstance(node, ast.Dict):
            if None in node.keys:
                raise ValueReadError("** is not a literal")
            keys = self.sequence(node.keys, depth)  # type: ignore[arg-type]
            return _hashable(
                dict, list(zip(keys, [self.value(item, depth + 1) for item in node.values], strict=True))
            )
        if isinstance(node, ast.Call):
            return self.call(node, depth)
        return _number(node)

    def sequence(self, nodes: Sequence[ast.AST], depth: int) -> list[Any]:
        self.count(len(nodes))
        return [self.value(node, depth + 1) for node in nodes]

    def count(self, items: int) -> None:
        self.items += items
        if self.items > MAX_ITEMS:
            raise ValueReadError(f"more than {MAX_ITEMS} items")

    def call(self, node: ast.Call, depth: int) -> Any:
        """``set()``, ``list(...)``, ``dict(a=1)``, ``float('inf')`` of literals."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "float":
            return _float(node)
        if name != "dict" and name not in _COLLECTIONS:
            raise _no_literal(node)
        positional, keywords = self.arguments(node, depth)
        if len(positional) > 1 or (keywords and name != "dict"):
            raise ValueReadError(f"{name}(...) takes one value")
        if name == "dict":
            if positional and type(positional[0]) not in (dict, list, tuple):
                raise ValueReadError("dict(...) takes a dict or a list of pairs, and keywords")
            return _hashable(dict, *positional) | keywords
        if positional and type(positional[0]) not in _ITERABLE:
            raise ValueReadError(f"{name}(...) of something other than a sequence")
        self.count(sum(map(len, positional)))
        return _hashable(_COLLECTIONS[name], *positional)

    def arguments(self, node: ast.Call, depth: int) -> tuple[list[Any], dict[str, Any]]:
        self.count(len(node.keywords))
        positional = self.sequence(node.args, depth)
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in keywords:
                raise ValueReadError(
                    f"keyword {keyword.arg[:40]} twice" if keyword.arg else "** is not a literal"
                )
            keywords[keyword.arg] = self.value(keyword.value, depth + 1)
        return positional, keywords


def _constant(value: Any) -> Any:
    kind = type(value)
    if kind is int:
        if value.bit_length() > MAX_INT_BITS:
            raise ValueReadError("too many digits")
    elif kind not in _CONSTANTS:
        raise ValueReadError("... is not a literal")
    return value


def _number(node: ast.AST) -> Any:
    """A number that is more than a constant: with a sign, by name, or complex (``1-2j``)."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        real, imaginary = _signed(node.left), _unsigned(node.right)
        if type(real) is complex or type(imaginary) is not complex:
            raise ValueReadError("expected a literal, not an expression")
        if real == 0 and isinstance(node.left, ast.UnaryOp) and isinstance(node.left.op, ast.USub):
            real = -0.0
        return complex(real, imaginary.imag if isinstance(node.op, ast.Add) else -imaginary.imag)
    return _signed(node)


def _signed(node: ast.AST) -> Any:
    if not isinstance(node, ast.UnaryOp):
        return _unsigned(node)
    value = _unsigned(node.operand)
    if isinstance(node.op, ast.UAdd):
        return value
    if not isinstance(node.op, ast.USub):
        raise ValueReadError("expected a literal, not an expression")
    # as ``repr`` writes them: the real part of -1j is 0.0
    return complex(0.0, -value.imag) if type(value) is complex else -value


def _unsigned(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, complex):
        return _constant(node.value)
    if isinstance(node, ast.Name):
        if node.id in _FLOATS:
            return _FLOATS[node.id]
        if node.id in _IMAGINARY:
            return complex(0.0, _IMAGINARY[node.id])
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "math"
        and node.attr in _FLOATS
    ):
        return _FLOATS[node.attr]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
        return _float(node)
    raise _no_literal(node)


def _float(node: ast.Call) -> float:
    argument = node.args[0] if len(node.args) == 1 and not node.keywords else None
    try:
        if isinstance(argument, ast.Constant) and type(argument.value) is str:
            return float(argument.value)
    except ValueError as error:
        raise ValueReadError(str(error)) from error
    raise ValueReadError("float(...) of something other than a number in quotes")


def _hashable(kind: Any, *items: Any) -> Any:
    try:
        return kind(*items)
    except (TypeError, ValueError) as error:
        raise ValueReadError(f"not possible in a {kind.__name__}: {error}") from error


def _no_literal(node: ast.AST) -> ValueReadError:
    name = node.id if isinstance(node, ast.Name) else type(node).__name__
    return ValueReadError(f"{name[:40]!r} is not a literal")


def _parse_call(text: str, opening: str, closing: str, max_chars: int = MAX_CHARS) -> ast.Call:
    """The text as the arguments of a call; it may close that call, but then something else than one call comes out."""
    if type(text) is not str:
        raise ValueReadError("not a text")
    if len(text) > max_chars:
        raise ValueReadError(f"a text of {len(text)} characters; at most {max_chars}")
    try:
        call = parse_tree(f"f{opening}{text}\n{closing}", "eval", _SOURCE).body
    except SyntaxError as error:
        line = f" in line {error.lineno}" if error.lineno else ""
        raise ValueReadError(f"{error.msg}{line}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueReadError(f"cannot be parsed: {type(error).__name__}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise ValueReadError("something follows the literal")
    return call


def parse_literal(text: str, max_chars: int = MAX_CHARS) -> Any:
    """The value of a literal as a person or a model writes it; several, with commas between them, are a tuple.

    Raises:
        ValueReadError: it is not a literal; an expression, for instance.
    """
    call = _parse_call(text, "((", "))", max_chars)
    [node] = call.args if len(call.args) == 1 and not call.keywords else [None]
    # begins with the bracket that is ours
    bare = node is not None and node.lineno == 1 and node.col_offset == len("f(")
    if node is None or (bare and not (isinstance(node, ast.Tuple) and node.elts)):
        raise ValueReadError("expected a literal")
    return _LiteralReader().value(node, 0)


def parse_arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call, from the text between its parentheses.

    Raises:
        ValueReadError: an argument is not a literal, or the text closes the call and continues after it.
    """
    return _LiteralReader().arguments(_parse_call(text, "(", ")"), -1)


def read(text: str, max_chars: int = MAX_CHARS) -> Any:
    """The value of a canonical text.

    Raises:
        ValueReadError: the text is not a literal, or not the canonical one.
    """
    value = parse_literal(text, max_chars)
    try:
        if canonical(value, max_chars) != text:
            raise ValueReadError("not canonical")
    except ValueWriteError as error:
        raise ValueReadError(str(error)) from error
    return value


def canonical_text(text: str) -> str:
    """The canonical text of a literal as a model writes it: ``[1,2]`` gives ``[1, 2]``.

    Raises:
        ValueReadError: it is not a literal.
    """
    try:
        return canonical(parse_literal(text))
    except ValueWriteError as error:
        raise ValueReadError(str(error)) from error


# --------------------------------------------------------------------------------------------------- equality


def same(left_text: str, right_text: str, strict: bool = False, dict_order: bool = True) -> bool:
    """Whether two canonical texts mean the same value.

    A bool never equals a number, nan equals nan, a tuple is not a list, sets have no order. Unless ``strict``, an int
    equals a float of the same value and a frozenset a set. Dicts must agree in order, unless ``dict_order`` is off.

    Raises:
        ValueReadError: one of them is not a canonical text.
    """
    if left_text == right_text:
        read(left_text)
        return True
    return _key(read(left_text), strict, dict_order) == _key(read(right_text), strict, dict_order)


def _key(value: Any, strict: bool, dict_order: bool) -> tuple[Any, ...]:
    """A hashable stand-in: two values are the same exactly when their keys are equal."""
    kind = type(value)
    if kind is float and math.isnan(value):
        return ("nan",)
    if kind is complex:
        return ("complex", _key(value.real, True, True), _key(value.imag, True, True))
    if kind is int or kind is float:
        return (kind.__name__ if strict else "number", value)
    if kind is list or kind is tuple:
        return (kind.__name__, *[_key(item, strict, dict_order) for item in value])
    if kind is dict:
        pairs = [
            (_key(key, strict, dict_order), _key(item, strict, dict_order)) for key, item in value.items()
        ]
        return ("dict", *pairs) if dict_order else ("dict", frozenset(pairs))
    if kind is set or kind is frozenset:
        return (
            kind.__name__ if strict else "set",
            frozenset([_key(item, strict, dict_order) for item in value]),
        )
    return (kind.__name__, value)
