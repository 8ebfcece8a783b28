"""Values as text: a canonical writer, a reader that never evaluates, and type-aware equality.

A value is None, bool, int, float, complex, str, bytes, tuple, list, dict, set or frozenset of exactly these
types (no subclass), nested at will within the caps below. Its canonical text is what ``repr`` gives, with the
elements of sets in a fixed order. Standard library only: the confined processes import this module too.

The reader is a recursive-descent parser of Python's literals. It accepts them as a model writes them (any
spacing, trailing commas, comments, escapes, ``set()``, ``float('inf')``, ``dict(a=1)``); ``read`` in addition
demands that the text is canonical.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

MAX_CHARS = 65536
"""Longest text that is written or read, unless the caller says otherwise."""
MAX_DEPTH = 64
MAX_ITEMS = 20_000
MAX_INT_BITS = 13_000
"""About 3,900 digits; CPython itself refuses to convert more than 4,300."""


class ValueReadError(ValueError):
    """The text is no literal, is not canonical where it has to be, or exceeds a cap."""


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
_BRACKETS = {list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}"), set: ("{", "}"), frozenset: ("frozenset({", "})")}


def type_name(kind: type) -> str:
    """The class's own name, without calling anything its author could have written; letters and digits only, at most 80."""
    name = _type_name(kind)
    return "".join([letter for letter in name[:80] if letter.isalnum() or letter == "_"]) if _type(name) is _str else "object"


def canonical(value: Any, max_chars: int = MAX_CHARS) -> str:
    """The canonical text of a *value* (of a text in the sense of a str: its repr). For literal texts: ``canonical_text``.

    Raises:
        ValueWriteError: a type without canonical text, or too large, deep, long or many.
    """
    return _Writer(max_chars).write(value, 0)


# --------------------------------------------------------------------------------------------------- reading

_SPACE = re.compile(r"(?:[ \t\r\n\f]|#[^\n]*|\\\r?\n)*")
_NUMBER = re.compile(
    r"(?P<based>0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+)"
    r"|(?P<real>(?:[0-9](?:_?[0-9])*)?\.[0-9](?:_?[0-9])*(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
    r"|[0-9](?:_?[0-9])*\.?(?:[eE][+-]?[0-9](?:_?[0-9])*)|[0-9](?:_?[0-9])*\.)(?P<real_j>[jJ]?)"
    r"|(?P<whole>[0-9](?:_?[0-9])*)(?P<whole_j>[jJ]?)"
)
_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)?")
_STRING = re.compile(
    r"(?P<prefix>[rR]?[bB]?|[bB][rR]|[uU])"
    r"(?:'''(?P<t1>(?:[^'\\]|\\.|'(?!''))*)'''|\"\"\"(?P<t2>(?:[^\"\\]|\\.|\"(?!\"\"))*)\"\"\""
    r"|'(?P<s1>(?:[^'\\\n]|\\.)*)'|\"(?P<s2>(?:[^\"\\\n]|\\.)*)\")",
    re.DOTALL,
)
_STRING_START = re.compile(r"(?:[rR]?[bB]?|[bB][rR]|[uU])['\"]")
_ESCAPE = re.compile(r"\\(\r?\n|[0-7]{1,3}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]{1,100}\}|.)", re.DOTALL)
_SIMPLE_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_CONSTANTS = {"None": None, "True": True, "False": False}
_FLOAT_NAMES = {"nan": "nan", "inf": "inf", "math.nan": "nan", "math.inf": "inf"}
_FLOAT_TEXT = re.compile(r"[+-]?(?:nan|inf|infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?)", re.IGNORECASE)


class _Reader:
    __slots__ = ("items", "position", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.items = 0

    def fail(self, what: str) -> ValueReadError:
        return ValueReadError(f"{what} at character {self.position + 1}")

    def peek(self) -> str:
        """The next character that is not space or comment; '' at the end."""
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position
        return self.text[self.position : self.position + 1]

    def take(self, character: str) -> bool:
        if self.peek() == character:
            self.position += 1
            return True
        return False

    def expect(self, character: str) -> None:
        if not self.take(character):
            raise self.fail(f"expected {character!r}")

    def count(self) -> None:
        self.items += 1
        if self.items > MAX_ITEMS:
            raise ValueReadError(f"more than {MAX_ITEMS} items")

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self.fail(f"nested deeper than {MAX_DEPTH}")
        first = self.peek()
        if first == "[":
            self.position += 1
            return self.sequence("]", depth)
        if first == "{":
            return self.braces(depth)
        if first == "(":
            return self.parentheses(depth)
        if first and first in "+-.0123456789":
            return self.number()
        if first and _STRING_START.match(self.text, self.position):
            return self.string()
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise self.fail("expected a literal")
        return self.name(match, depth)

    def sequence(self, closing: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not self.take(closing):
            self.count()
            items.append(self.value(depth + 1))
            if not self.take(","):
                self.expect(closing)
                break
        return items

    def parentheses(self, depth: int) -> Any:
        self.expect("(")
        if self.take(")"):
            return ()
        first = self.value(depth + 1)
        if self.take(")"):
            return first
        self.expect(",")
        self.count()
        return (first, *self.sequence(")", depth))

    def braces(self, depth: int) -> Any:
        self.expect("{")
        if self.take("}"):
            return {}
        self.count()
        first = self.value(depth + 1)
        if not self.take(":"):
            if self.take(","):
                return self.hashable(set, [first, *self.sequence("}", depth)])
            self.expect("}")
            return self.hashable(set, [first])
        pairs = [(first, self.value(depth + 1))]
        while not self.take("}"):
            self.expect(",")
            if self.take("}"):
                break
            self.count()
            key = self.value(depth + 1)
            self.expect(":")
            pairs.append((key, self.value(depth + 1)))
        return self.hashable(dict, pairs)

    def hashable(self, kind: Any, items: Any) -> Any:
        try:
            return kind(items)
        except (TypeError, ValueError) as error:
            raise self.fail(f"not possible in a {kind.__name__}: {error}") from error

    def number(self) -> Any:
        """A signed number, or a real part followed by an imaginary one (``1-2j``)."""
        text, value = self.signed()
        if type(value) is complex or self.peek() not in ("+", "-"):
            return value
        start = self.position
        _, imaginary = self.signed()
        if type(imaginary) is not complex:
            self.position = start
            raise self.fail("expected a literal, not an expression")
        return complex(float(text), imaginary.imag)

    def signed(self) -> tuple[str, Any]:
        negative = False
        if (sign := self.peek()) in ("+", "-"):
            negative = sign == "-"
            self.position += 1
            self.peek()
        text, value = self.unsigned()
        if not negative:
            return text, value
        return "-" + text, complex(0.0, -value.imag) if type(value) is complex else -value

    def unsigned(self) -> tuple[str, Any]:
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            return self.float_name()
        self.position = match.end()
        following = self.text[self.position : self.position + 1]
        if following.isalnum() or following == "_":
            raise self.fail("a malformed number")
        text = match[0]
        if match["based"]:
            if len(text) * 4 > MAX_INT_BITS:
                raise self.fail("too many digits")
            number = int(text, 0)
            return str(number), number
        text = text.replace("_", "").rstrip("jJ")
        if len(text) * 3.33 > MAX_INT_BITS:
            raise self.fail("too many digits")
        if match["real_j"] or match["whole_j"]:
            return text, complex(0.0, float(text))
        if match["real"]:
            return text, float(text)
        if len(text) > 1 and text[0] == "0" and text.strip("0"):
            raise self.fail("leading zeros in a number")
        return text, int(text)

    def float_name(self) -> tuple[str, Any]:
        """``inf``, ``nan``, ``infj`` ... after a sign."""
        match = _NAME.match(self.text, self.position)
        if match is None:
            raise self.fail("expected a number")
        self.position = match.end()
        name = match[0]
        if name in ("infj", "nanj"):
            return name[:3], complex(0.0, float(name[:3]))
        if name in _FLOAT_NAMES:
            return _FLOAT_NAMES[name], float(_FLOAT_NAMES[name])
        if name == "float":
            number = self.call_float()
            return repr(number), number
        raise self.fail("expected a number")

    def string(self) -> Any:
        """One or several string literals in a row."""
        parts: list[Any] = []
        while _STRING_START.match(self.text, self.position):
            match = _STRING.match(self.text, self.position)
            if match is None:
                raise self.fail("an unterminated string")
            self.position = match.end()
            body = next(group for group in (match["t1"], match["t2"], match["s1"], match["s2"]) if group is not None)
            prefix = match["prefix"].lower()
            parts.append(self.bytes_body(body, "r" in prefix) if "b" in prefix else self.string_body(body, "r" in prefix))
            self.peek()
        if len({type(part) for part in parts}) > 1:
            raise self.fail("bytes and text side by side")
        return parts[0] if len(parts) == 1 else (b"" if type(parts[0]) is bytes else "").join(parts)

    def string_body(self, body: str, raw: bool) -> str:
        body = body.replace("\r\n", "\n").replace("\r", "\n") if "\r" in body else body
        return body if raw or "\\" not in body else _ESCAPE.sub(self.unescape, body)

    def bytes_body(self, body: str, raw: bool) -> bytes:
        if not body.isascii():
            raise self.fail("a bytes literal with characters beyond ASCII")
        if raw or "\\" not in body:
            return body.encode("ascii")
        return _ESCAPE.sub(self.unescape_bytes, body).encode("latin-1")

    def unescape(self, match: re.Match[str]) -> str:
        escape = match[1]
        if escape in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[escape]
        if escape[0] in "01234567":
            return chr(int(escape, 8))
        if escape[0] in "xuU" and len(escape) > 1:
            code = int(escape[1:], 16)
            if code > 0x10FFFF:
                raise self.fail("an escape beyond Unicode")
            return chr(code)
        if escape[0] == "N" and len(escape) > 1:
            try:
                return unicodedata.lookup(escape[2:-1])
            except KeyError as error:
                raise self.fail("an unknown character name") from error
        if escape in ("\n", "\r\n"):
            return ""
        if escape in "xuUN":
            raise self.fail("a malformed escape")
        return match[0]

    def unescape_bytes(self, match: re.Match[str]) -> str:
        if match[1][0] in "uUN":
            return match[0]
        text = self.unescape(match)
        return text if len(text) > 1 else "".join(chr(ord(letter) & 255) for letter in text)

    def name(self, match: re.Match[str], depth: int) -> Any:
        name = match[0]
        if name in _CONSTANTS:
            self.position = match.end()
            return _CONSTANTS[name]
        if name in _FLOAT_NAMES or name in ("infj", "nanj"):
            return self.number()
        self.position = match.end()
        if name == "float":
            return self.call_float()
        if name in ("set", "frozenset", "list", "tuple"):
            return self.call_container({"set": set, "frozenset": frozenset, "list": list, "tuple": tuple}[name], depth)
        if name == "dict":
            return self.call_dict(depth)
        self.position = match.start()
        raise self.fail(f"{name[:40]!r} is no literal")

    def call_float(self) -> float:
        self.expect("(")
        self.peek()
        text = self.string() if _STRING_START.match(self.text, self.position) else ""
        if type(text) is not str or not _FLOAT_TEXT.fullmatch(text.strip()):
            raise self.fail("float(...) of something else than a number in quotes")
        self.expect(")")
        return float(text)

    def call_container(self, kind: type, depth: int) -> Any:
        self.expect("(")
        if self.take(")"):
            return kind()
        argument = self.value(depth + 1)
        self.take(",")
        self.expect(")")
        if type(argument) not in _ITERABLE:
            raise self.fail(f"{kind.__name__}(...) of something else than a sequence")
        self.items += len(argument)
        self.count()
        return self.hashable(kind, argument)

    def call_dict(self, depth: int) -> dict[Any, Any]:
        self.expect("(")
        positional, keywords = self.arguments(depth + 1)
        if len(positional) > 1 or (positional and type(positional[0]) not in (dict, list, tuple)):
            raise self.fail("dict(...) takes a dict or a list of pairs, and keywords")
        result = self.hashable(dict, positional[0]) if positional else {}
        return {**result, **keywords}

    def arguments(self, depth: int) -> tuple[list[Any], dict[str, Any]]:
        """An argument list up to its closing parenthesis, which is taken."""
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        while not self.take(")"):
            self.count()
            keyword = self.keyword()
            if keyword is None:
                if keywords:
                    raise self.fail("a positional argument after one by keyword")
                positional.append(self.value(depth))
            elif keyword in keywords:
                raise self.fail(f"keyword {keyword[:40]} twice")
            else:
                keywords[keyword] = self.value(depth)
            if not self.take(","):
                self.expect(")")
                break
        return positional, keywords

    def keyword(self) -> str | None:
        self.peek()
        match = _NAME.match(self.text, self.position)
        if match is None or "." in match[0]:
            return None
        start, self.position = self.position, match.end()
        if self.take("=") and self.text[self.position : self.position + 1] != "=":
            return unicodedata.normalize("NFKC", match[0])
        self.position = start
        return None


_ITERABLE = frozenset({list, tuple, set, frozenset, dict, str, bytes})


def parse(text: str, max_chars: int = MAX_CHARS) -> Any:
    """The value of a literal as a person or a model writes it.

    Raises:
        ValueReadError: it is no literal; an expression, for instance.
    """
    reader = _start(text, max_chars)
    value = reader.value(0)
    if reader.peek():
        if reader.text[reader.position] != ",":
            raise reader.fail("something follows the literal")
        # a bare tuple: 1, 2
        reader.position += 1
        items = [value]
        while reader.peek():
            reader.count()
            items.append(reader.value(1))
            if not reader.take(",") and reader.peek():
                raise reader.fail("something follows the literal")
        return tuple(items)
    return value


def parse_arguments(text: str, max_chars: int = MAX_CHARS) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments of a call, from the text between its parentheses.

    Raises:
        ValueReadError: an argument is no literal, or the text closes the call and goes on.
    """
    if type(text) is str and len(text) <= max_chars:
        positional = _parse_common(text)
        if positional is not None:
            return positional, {}
    reader = _start(text + "\n)", max_chars)
    result = reader.arguments(0)
    if reader.peek():
        raise reader.fail("something follows the arguments")
    return result


_COMMON_CHARS = 2000
"""Texts up to this length cannot exceed a cap on items or digits."""
_COMMON_DEPTH = 60
_JSON_LIKE = re.compile(r"""(?:[][{}:, 0-9.eE+-]|"[^"\\\x00-\x1f]*")*""")
_scan_json: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


def _parse_common(text: str) -> list[Any] | None:
    """Arguments that mean the same in JSON, by C code; None for all others, which are the reader's: it alone refuses.

    Within these characters JSON is a part of Python's literals with the same values: numbers, texts without
    escapes, lists, and dicts with texts as keys.
    """
    if len(text) > _COMMON_CHARS or text.count("[") + text.count("{") > _COMMON_DEPTH:
        return None
    if "'" in text:
        if '"' in text:
            return None
        text = text.replace("'", '"')
    if not _JSON_LIKE.fullmatch(text):
        return None
    text = "[" + text + "]"
    try:
        value, end = _scan_json(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    return value if end == len(text) else None


_PLAIN_TEXT = re.compile(r"b?'[ -&(-\[\]-~]*'")
_FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]+(?:e[+-][0-9]+)?|e[+-][0-9]+)")
_PLAIN = re.compile(r"(?:0|-?[1-9][0-9]{0,999})|True|False|None")
_GROUP = re.compile("\\[(?:\0(?:, \0)*)?\\]|\\((?:\0,|\0(?:, \0)+)?\\)")


def _commonly_canonical(text: str) -> bool:
    """Whether a text is canonical at first sight: lists and tuples of numbers and texts. False says nothing.

    Scalars become a NUL, then every list or tuple of NULs one NUL, until nothing but a NUL is left.
    """
    if len(text) > _COMMON_CHARS or "\0" in text:
        return False
    if "'" in text:
        text = _PLAIN_TEXT.sub("\0", text)
    if "." in text or "e" in text:
        text = _FLOAT.sub(lambda match: "\0" if repr(float(match[0])) == match[0] else "?", text)
    text = _PLAIN.sub("\0", text)
    for _ in range(_COMMON_DEPTH):
        if text == "\0":
            return True
        text, found = _GROUP.subn("\0", text)
        if not found:
            return False
    return False


def check(text: str, max_chars: int = MAX_CHARS) -> None:
    """As ``read``, without making the value.

    Raises:
        ValueReadError: the text is no literal, or not the canonical one.
    """
    if type(text) is str and 2 * len(text) <= max_chars and _commonly_canonical(text):
        return
    read(text, max_chars)


def _start(text: str, max_chars: int) -> _Reader:
    if type(text) is not str:
        raise ValueReadError("not a text")
    if len(text) > max_chars + 2:
        raise ValueReadError(f"a text of {len(text)} characters; at most {max_chars}")
    return _Reader(text)


def read(text: str, max_chars: int = MAX_CHARS) -> Any:
    """The value of a canonical text.

    Raises:
        ValueReadError: the text is no literal, or not the canonical one.
    """
    reader = _start(text, max_chars)
    value = reader.value(0)
    try:
        if canonical(value, max_chars) != text:
            raise ValueReadError("not canonical")
    except ValueWriteError as error:
        raise ValueReadError(str(error)) from error
    return value


def canonical_text(text: str, max_chars: int = MAX_CHARS) -> str:
    """The canonical text of a literal as a model writes it: ``[1,2]`` gives ``[1, 2]``.

    Raises:
        ValueReadError: it is no literal.
    """
    try:
        return canonical(parse(text, max_chars), max_chars)
    except ValueWriteError as error:
        raise ValueReadError(str(error)) from error


# --------------------------------------------------------------------------------------------------- equality


def same(left_text: str, right_text: str, strict: bool = False, dict_order: bool = True) -> bool:
    """Whether two canonical texts mean the same value.

    A bool never equals a number, nan equals nan, a tuple is no list, sets have no order. Unless ``strict``, an
    int equals a float of the same value and a frozenset a set. Dicts must agree in order, unless ``dict_order``
    is off.

    Raises:
        ValueReadError: one of them is no canonical text.
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
        pairs = [(_key(key, strict, dict_order), _key(item, strict, dict_order)) for key, item in value.items()]
        return ("dict", *pairs) if dict_order else ("dict", frozenset(pairs))
    if kind is set or kind is frozenset:
        return (kind.__name__ if strict else "set", frozenset([_key(item, strict, dict_order) for item in value]))
    return (kind.__name__, value)
