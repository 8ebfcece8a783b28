"""Canonical values: round trips, what a model writes, what must be refused, equality."""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from azr.sandbox.values import (
    ValueReadError,
    ValueWriteError,
    canonical,
    canonical_text,
    parse_arguments,
    parse_literal,
    read,
    same,
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-(10**60), 10**60) | st.floats() | st.complex_numbers()
    | st.text(st.characters(exclude_categories=())) | st.binary()
)  # fmt: skip
hashable = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=8
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=400)
@given(values)
def test_what_is_written_reads_back_as_the_same_text(value):
    text = canonical(value)
    again = read(text)
    assert canonical(again) == text
    assert type(again) is type(value)
    assert same(text, canonical(again)) and same(text, text, strict=True)


@settings(deadline=None, max_examples=300)
@given(values, st.randoms(use_true_random=False))
def test_mutated_texts_raise_nothing_but_their_own_error(value, random):
    text = list(canonical(value))
    for _ in range(random.randint(1, 4)):
        position = random.randrange(len(text) + 1)
        text[position : position + random.randint(0, 2)] = random.choice(PIECES)
    mutated = "".join(text)
    for reader in (read, parse_literal, canonical_text, parse_arguments):
        try:
            reader(mutated)
        except ValueReadError:
            continue


common = st.recursive(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
common_texts = st.text(alphabet="0123456789.eE+-'\"[](){}:, \nba\0", max_size=14)
canonical_like = st.lists(
    st.sampled_from(
        [
            "1",
            "-0",
            "0",
            "1.5",
            "1.50",
            "1e5",
            "'a'",
            "b'",
            '"',
            "'",
            "(",
            ")",
            "[",
            "]",
            "{",
            ", ",
            ",",
            ": ",
            "()",
            "True",
            "\0",
            "(1,)",
        ]
    ),
    max_size=9,
).map("".join)


@settings(deadline=None, max_examples=1500)
@given(
    common_texts
    | canonical_like
    | st.lists(common, max_size=3).map(lambda items: ", ".join(map(repr, items)))
)
def test_arguments_are_what_python_makes_of_them(text):
    try:
        positional, keywords = parse_arguments(text)
    except ValueReadError:
        return
    assert not keywords
    assert [canonical(item) for item in positional] == [
        canonical(item) for item in ast.literal_eval("[" + text + "\n]")
    ]
    assert positional is not parse_arguments(text)[0]


@settings(deadline=None, max_examples=1500)
@given(canonical_like | common_texts | common.map(canonical) | values.map(canonical))
def test_what_reads_is_canonical(text):
    try:
        assert canonical(read(text)) == text
    except ValueReadError:
        return


def test_common_texts():
    assert parse_arguments("[4, 2.5], {'a': [-1]}, 'b'") == ([[4, 2.5], {"a": [-1]}, "b"], {})
    for text in ("([(1, 0), (2.5, -1)], 'a b', b'c', (None,), True, [], ())", "0", "-1e-05"):
        read(text)
    for text in (
        "(1)",
        "[1,2]",
        "-0",
        "01",
        "1.50",
        "1e5",
        "'a''b'",
        "1 ",
        '"a"',
        "\0",
        "[\0]",
        "(1, 2,)",
        "",
        "1, 2",
        "[" * 99 + "]" * 99,
    ):
        with pytest.raises(ValueReadError):
            read(text)


PIECES = ["(", "}", "'", "\\", "1", ",", "e", "j", "set", "\x00", "b'", ":", " "]
literal_texts = st.text(alphabet="0123456789.eEjJ_+-xXob'\"\\nrtub[](){},: \nNoneTrueFals#", max_size=14)


@settings(deadline=None, max_examples=1500)
@example("-0J")
@given(literal_texts)
def test_reader_never_gives_another_value_than_python(text):
    try:
        ours = parse_literal(text)
    except ValueReadError:
        return
    if "nan" in text or "set" in text:
        return  # names that only our reader takes
    try:
        theirs = ast.literal_eval(text.strip())
    except (SyntaxError, ValueError, TypeError):
        # Python refuses line breaks outside brackets and has names of ours as names; those texts have no
        # other meaning
        theirs = ast.literal_eval("(" + text + "\n)")
    assert _without_sign_of_real_zero(canonical(ours)) == _without_sign_of_real_zero(canonical(theirs))


def _without_sign_of_real_zero(text):
    """``-1j`` for Python's ``(-0-1j)``: its literal -1j has a real part of -0.0, and our reader gives back
    what ``repr`` wrote, 0.0."""
    return re.sub(r"\(-?0([+-][^()]*j)\)", lambda match: match[1].removeprefix("+"), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1,2]", "[1, 2]"),
        ("'a'", "'a'"),
        ('"it\'s"', '"it\'s"'),
        ("{3, 1, 2}", "{1, 2, 3}"),
        ("1, 2", "(1, 2)"),
        ("( 1 )", "1"),
        ("(1,)", "(1,)"),
        ("[1,\n 2, # two\n]", "[1, 2]"),
        ("float('inf')", "inf"),
        ("-float('inf')", "-inf"),
        ("nan", "nan"),
        ("set()", "set()"),
        ("dict(a=1, b=[2])", "{'a': 1, 'b': [2]}"),
        ("frozenset({1})", "frozenset({1})"),
        ("'a' 'b'", "'ab'"),
        ("'''x\ny'''", "'x\\ny'"),
        (r"r'\d'", r"'\\d'"),
        (r"b'\x41'", "b'A'"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("1e3", "1000.0"),
        ("1 - 2j", "(1-2j)"),
        ("{1: 2, 1: 3}", "{1: 3}"),
        ("'\\N{GREEK SMALL LETTER ALPHA}'", "'α'"),
    ],
)
def test_literals_as_models_write_them(text, expected):
    assert canonical_text(text) == expected
    assert read(expected) is not ...


# fmt: off
NO_LITERALS = [
    "1 + 1", "f(1)", "[0] * 3", "'a'.upper()", "__import__('os')", "lambda: 1", "[x for x in y]", "...", "Counter()", "f'{1}'", "", "1 2",
    "{[1]: 2}", "[" * 500 + "]" * 500, "9" * 20000, "'abc", "b'é'", "01", "1__0", "0x", "'\\x1'", "{**{}}", "*[1]", "1 if 1 else 2",
    "not True", "'\\ud800'.x", "--1", "1--2j", "1+2", "1), (2", "1)+(2j", "1)(2", "-True", "~1", "1j+2j", "# nothing", ",", "x := 1",
    "float(1)", "math.pi", "set(1)", "list(a=[1])", "dict(1)", "float('1', 2)", "'a' f'{1}'", "[*[1]]", "yield", "b'a' 'b'", "1 if",
    "\x00", "'\ud800'",
    "0x" + "f" * 4000, "(" * 10_000 + "1" + ")" * 10_000, "-" * 60_000 + "1", "1" + "+1" * 30_000, "1" + ".real" * 10_000,
    "f" + "()" * 30_000,
]
# fmt: on


@pytest.mark.parametrize("text", NO_LITERALS)
def test_what_is_no_literal_is_refused(text):
    with pytest.raises(ValueReadError):
        canonical_text(text)


@pytest.mark.parametrize(
    "text", ["[1,2]", "{2, 1}", "1.", "'a' ", "(1)", '"a"', "1, 2", "dict()", "+1", "0x10"]
)
def test_read_demands_the_canonical_text(text):
    parse_literal(text)
    with pytest.raises(ValueReadError):
        read(text)


def test_arguments_by_position_and_keyword_over_several_lines():
    assert parse_arguments("1,\n [2],\n key='x', # why\n") == ([1, [2]], {"key": "x"})
    assert parse_arguments("") == ([], {})
    for text in ("1) or (True", "1); f(2", "x=1, 2", "x=1, x=2", "*a", "1 2"):
        with pytest.raises(ValueReadError):
            parse_arguments(text)


class _Liar(int):
    def __repr__(self):
        raise AssertionError("called")

    __eq__ = __hash__ = __reduce__ = __repr__


def test_only_exact_types_are_written_and_nothing_of_theirs_is_called():
    for value in (_Liar(1), [_Liar(1)], object(), range(3), type, Exception(), ...):
        with pytest.raises(ValueWriteError):
            canonical(value)
    cyclic = []
    cyclic.append(cyclic)
    shared = [1]
    for _ in range(40):
        shared = [shared, shared]
    for value in (cyclic, shared, "a" * 100_000, list(range(50_000)), 10**5000):
        with pytest.raises(ValueWriteError):
            canonical(value)


def test_equality_is_aware_of_types():
    assert same("1", "1.0") and not same("1", "1.0", strict=True)
    assert not same("1", "True") and not same("True", "1.0") and not same("[1]", "[True]")
    assert same("nan", "nan") and same("[nan]", "[nan]") and same("0.0", "-0.0")
    assert not same("(1,)", "[1]") and not same("'1'", "1") and not same("b'a'", "'a'")
    assert (
        same("{1, 2}", "{1, 2}")
        and same("{1}", "frozenset({1})")
        and not same("{1}", "frozenset({1})", strict=True)
    )
    assert not same("{1: 2, 3: 4}", "{3: 4, 1: 2}") and same("{1: 2, 3: 4}", "{3: 4, 1: 2}", dict_order=False)
    assert same("[1, (2, {3: 4.0})]", "[1.0, (2, {3: 4})]") and not same("{1: 2}", "{1: 3}")
    with pytest.raises(ValueReadError):
        same("f()", "1")
    assert math.isnan(read("nan"))


def test_a_variable_of_python_s_makes_no_right_answer_unreadable():
    code = "from azr.sandbox.values import canonical_text; print(len(canonical_text('7' * 1000)))"
    environment = {**os.environ, "PYTHONINTMAXSTRDIGITS": "640"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1000\n", "")
