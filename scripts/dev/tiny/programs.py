"""Synthetic programs: short pipelines of typed steps, grouped in families.

A program is a chain of one to three *blocks*. Each block takes a value of one type and gives one of another;
it is either an expression or a few statements (a loop, a conditional). A family is named after its most
characteristic block, so a ``dicts`` program may also sort a list on its way. Recursive programs have their
own forms. The *harder* families (``HELD_OUT_FAMILIES``) are never trained on: longer chains, nested loops,
two-branch recursion and others.

Programs of the training families are divided by content: a hash of the source decides whether a program
belongs to the training data, to the seeds or to the frozen probes, so the three are disjoint however many are
drawn.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

FAMILIES = ("arithmetic", "strings", "lists", "dicts", "sets", "conditionals", "loops", "recursion")
HELD_OUT_FAMILIES = (
    "long_chain",
    "nested_loops",
    "branching_recursion",
    "while_search",
    "pairs",
    "letters",
    "nested_conditionals",
)

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PARAMETERS = {
    "int": ("x", "n", "a", "k", "num", "value"),
    "ints": ("x", "xs", "nums", "items", "values", "data"),
    "str": ("s", "x", "text", "word", "name"),
    "strs": ("x", "words", "names", "parts"),
    "dict": ("d", "x", "table", "counts"),
}
VARIABLES = (
    "y",
    "z",
    "t",
    "r",
    "w",
    "b",
    "p",
    "q",
    "out",
    "res",
    "total",
    "tmp",
    "acc",
    "result",
    "left",
    "part",
)


@dataclass(frozen=True)
class Sketch:
    """A program before it is executed."""

    family: str
    difficulty: int
    """Number of blocks; harder families count their nesting too."""
    code: str
    phrase: str
    """The blocks in words, comma-separated: what a helpful message or a plan says."""
    kinds: str
    """Types of the parameters, joined by ``+`` (keys of ``PARAMETERS``)."""
    small: bool = False
    """Inputs must be small: the program's work grows fast with them."""


@dataclass(frozen=True)
class Block:
    """One step of a chain. In ``lines``, ``expr`` and ``phrase``: ``{x}`` is the value so far, ``{y}`` a new
    variable."""

    family: str
    source: str
    target: str
    phrase: str
    expr: str = ""
    lines: tuple[str, ...] = ()


def _expressions(family: str, source: str, target: str, *forms: tuple[str, str]) -> list[Block]:
    return [Block(family, source, target, phrase, expr=expr) for expr, phrase in forms]


def _statements(family: str, source: str, target: str, *forms: tuple[str, str]) -> list[Block]:
    return [Block(family, source, target, phrase, lines=tuple(text.split("\n"))) for text, phrase in forms]


# {c}: 1 to 9; {k}: 2 to 5; {j}: 0 to 1 (an index); {l}, {m}: letters; {w}: one to two letters.
BLOCKS: list[Block] = [
    *_expressions("arithmetic", "int", "int",
        ("{x} + {c}", "add {c}"), ("{x} - {c}", "subtract {c}"), ("{x} * {k}", "times {k}"), ("{x} // {k}", "divide by {k}"),
        ("{x} % {k}", "modulo {k}"), ("{x} * {x}", "square"), ("abs({x} - {c})", "distance to {c}"), ("max({x}, {c})", "at least {c}"),
        ("min({x}, {c})", "at most {c}"), ("{c} - {x}", "{c} minus it")),
    *_expressions("arithmetic", "int", "bool", ("{x} > {c}", "is over {c}"), ("{x} % {k} == 0", "divisible by {k}")),
    *_expressions("strings", "int", "str", ("str({x})", "as text"), ("'{l}' * {x}", "repeat {l}")),
    *_expressions("strings", "str", "str",
        ("{x}.upper()", "upper case"), ("{x}[::-1]", "reverse"), ("{x} + '{w}'", "append {w}"), ("'{w}' + {x}", "prepend {w}"),
        ("{x}[1:]", "drop first"), ("{x}[:-1]", "drop last"), ("{x} * 2", "twice"), ("{x}[:{k}]", "keep {k}"),
        ("{x}.replace('{l}', '{m}')", "replace {l} by {m}")),
    *_expressions("strings", "str", "int", ("len({x})", "length"), ("{x}.count('{l}')", "count {l}")),
    *_expressions("strings", "str", "strs", ("list({x})", "letters"), ("sorted({x})", "sort")),
    *_expressions("strings", "strs", "str", ("''.join({x})", "join"), ("'-'.join({x})", "join by dash"), ("{x}[{j}]", "item {j}")),
    *_expressions("strings", "str", "bool", ("'{l}' in {x}", "has {l}")),
    *_expressions("lists", "ints", "ints",
        ("sorted({x})", "sort"), ("{x}[::-1]", "reverse"), ("{x} + [{c}]", "append {c}"), ("[{c}] + {x}", "prepend {c}"),
        ("{x}[1:]", "drop first"), ("{x}[:-1]", "drop last"), ("{x}[:{k}]", "keep {k}"), ("[e + {c} for e in {x}]", "add {c} to each"),
        ("[e * {k} for e in {x}]", "each times {k}"), ("[e for e in {x} if e > {c}]", "keep over {c}"),
        ("[e for e in {x} if e % 2 == 0]", "keep even")),
    *_expressions("lists", "ints", "int",
        ("sum({x})", "sum"), ("len({x})", "length"), ("max({x})", "largest"), ("min({x})", "smallest"), ("{x}[{j}]", "item {j}"),
        ("{x}[-1]", "last item"), ("{x}.count({c})", "count {c}")),
    *_expressions("lists", "int", "ints", ("[{x}, {c}]", "pair with {c}"), ("list(range({x}))", "range"), ("[{x}] * {k}", "repeat {k}")),
    *_expressions("lists", "strs", "strs", ("sorted({x})", "sort"), ("{x}[::-1]", "reverse"), ("{x} + ['{w}']", "append {w}")),
    *_expressions("lists", "strs", "int", ("len({x})", "length")),
    *_expressions("dicts", "dict", "int",
        ("sum({x}.values())", "sum values"), ("max({x}.values())", "largest value"), ("{x}.get('{l}', {c})", "get {l} or {c}"),
        ("len({x})", "length")),
    *_expressions("dicts", "dict", "strs", ("sorted({x})", "sort keys"), ("list({x})", "keys")),
    *_expressions("dicts", "dict", "ints", ("list({x}.values())", "values"), ("sorted({x}.values())", "sort values")),
    *_expressions("dicts", "dict", "dict", ("{{u: e + {c} for u, e in {x}.items()}}", "add {c} to values"),
        ("{{u: e * {k} for u, e in {x}.items()}}", "values times {k}")),
    *_expressions("dicts", "str", "dict", ("{{e: {x}.count(e) for e in {x}}}", "count letters")),
    *_expressions("dicts", "ints", "dict", ("{{e: e * {k} for e in {x}}}", "map to times {k}")),
    *_expressions("sets", "ints", "ints", ("sorted(set({x}))", "unique sort"), ("sorted(set({x}) | {{{c}}})", "with {c} unique sort"),
        ("sorted(set({x}) - {{{c}}})", "without {c} unique sort")),
    *_expressions("sets", "ints", "int", ("len(set({x}))", "count unique")),
    *_expressions("sets", "ints", "bool", ("{c} in set({x})", "contains {c}")),
    *_expressions("sets", "str", "strs", ("sorted(set({x}))", "unique sort")),
    *_expressions("sets", "str", "int", ("len(set({x}))", "count unique")),
    *_statements("dicts", "dict", "dict", ("{x}['{l}'] = {c}\n{y} = {x}", "set {l} to {c}")),
    *_statements("dicts", "ints", "dict", ("{y} = {{}}\nfor v in {x}:\n    {y}[v] = {y}.get(v, 0) + 1", "count items")),
    *_statements("sets", "ints", "ints", ("{y} = set()\nfor v in {x}:\n    {y}.add(v % {k})\n{y} = sorted({y})", "unique modulo {k}")),
    *_statements("conditionals", "int", "int",
        ("if {x} > {c}:\n    {y} = {x} - {k}\nelse:\n    {y} = {x} + {d}", "if over {c} subtract {k} else add {d}"),
        ("if {x} % 2 == 0:\n    {y} = {x} // 2\nelse:\n    {y} = {x} + {d}", "if even halve else add {d}"),
        ("{y} = {x} * {k} if {x} < {c} else {x} + {d}", "if under {c} times {k} else add {d}"),
        ("{y} = {d}\nif {x} > {c}:\n    {y} = {x}", "keep if over {c} else {d}")),
    *_statements("conditionals", "ints", "ints",
        ("if {x}[0] > {c}:\n    {y} = {x}[::-1]\nelse:\n    {y} = {x} + [{d}]", "if first over {c} reverse else append {d}"),
        ("if len({x}) > {k}:\n    {y} = {x}[1:]\nelse:\n    {y} = sorted({x})", "if longer than {k} drop first else sort")),
    *_statements("conditionals", "str", "str",
        ("if len({x}) > {k}:\n    {y} = {x}[:{k}]\nelse:\n    {y} = {x} + '{w}'", "if longer than {k} keep {k} else append {w}"),
        ("if '{l}' in {x}:\n    {y} = {x}.upper()\nelse:\n    {y} = {x}[::-1]", "if has {l} upper case else reverse")),
    *_statements("conditionals", "int", "str", ("if {x} > {c}:\n    {y} = '{w}'\nelse:\n    {y} = '{l}'", "if over {c} then {w} else {l}")),
    *_statements("loops", "ints", "int",
        ("{y} = {d}\nfor v in {x}:\n    {y} += v", "sum from {d}"),
        ("{y} = 0\nfor v in {x}:\n    {y} += v * {k}", "sum times {k}"),
        ("{y} = 0\nfor v in {x}:\n    if v > {c}:\n        {y} += 1", "count over {c}"),
        ("{y} = 0\nfor v in {x}:\n    {y} = v - {y}", "alternate subtract")),
    *_statements("loops", "int", "int",
        ("{y} = {d}\nfor i in range({k}):\n    {y} += {x}", "{k} times from {d}"),
        ("{y} = {x}\nfor i in range({k}):\n    {y} += i", "add below {k}"),
        ("{y} = {x}\nwhile {y} > {c}:\n    {y} -= {k}", "subtract {k} while over {c}"),
        ("{y} = {x}\nwhile {y} < {c}:\n    {y} += {k}", "add {k} while under {c}")),
    *_statements("loops", "ints", "ints",
        ("{y} = []\nfor v in {x}:\n    {y}.append(v * {k})", "each times {k}"),
        ("{y} = []\nfor v in {x}:\n    if v < {c}:\n        {y}.append(v)", "keep under {c}"),
        ("{y} = []\nfor v in {x}:\n    {y} = [v] + {y}", "reverse")),
    *_statements("loops", "str", "str", ("{y} = ''\nfor v in {x}:\n    {y} = v + {y}", "reverse"),
        ("{y} = ''\nfor v in {x}:\n    {y} += v * 2", "double letters"),
        ("{y} = ''\nfor v in {x}:\n    if v != '{l}':\n        {y} += v", "remove {l}")),
    *_statements("loops", "str", "int", ("{y} = 0\nfor v in {x}:\n    if v == '{l}':\n        {y} += {d}", "{d} for each {l}")),
]  # fmt: skip

RECURSIONS = (
    # parameter type, source, phrase
    ("int", "if {x} <= {j}:\n    return {d}\nreturn f({x} - 1) + {c}", "recursive add {c} from {d}"),
    ("int", "if {x} <= {j}:\n    return {d}\nreturn {x} + f({x} - 1)", "recursive sum from {d}"),
    ("int", "if {x} < 1:\n    return {d}\nreturn f({x} - 2) * 2", "double every 2 from {d}"),
    ("int", "if {x} < {c}:\n    return {x}\nreturn f({x} - {c}) + {d}", "{d} for each {c}"),
    ("ints", "if not {x}:\n    return {d}\nreturn {x}[0] + f({x}[1:])", "recursive sum from {d}"),
    ("ints", "if len({x}) < 2:\n    return {x}\nreturn f({x}[1:]) + [{x}[0]]", "recursive reverse"),
    ("str", "if len({x}) < 2:\n    return {x}\nreturn f({x}[1:]) + {x}[0]", "recursive reverse"),
    ("str", "if not {x}:\n    return '{w}'\nreturn f({x}[1:]) + {x}[0]", "reverse onto {w}"),
)

SMALL_FAMILIES = ("recursion", "branching_recursion", "nested_loops")

TWO_ARGUMENTS = {
    # by the type that the rest of the chain takes: expression over x and y, phrase, types of the parameters
    "int": (("{x} + {y}", "add both", "int+int"), ("{x} - {y}", "difference", "int+int"), ("{x} * {y}", "product", "int+int"),
        ("max({x}, {y})", "larger", "int+int"), ("{x}.count({y})", "count second", "ints+int")),
    "ints": (("{x} + [{y}]", "append second", "ints+int"), ("[e + {y} for e in {x}]", "add second to each", "ints+int"),
        ("[e for e in {x} if e > {y}]", "keep over second", "ints+int")),
    "str": (("{x} + {y}", "join both", "str+str"), ("{y} + {x}", "join both swapped", "str+str")),
}  # fmt: skip

HARD_FORMS = {
    "nested_loops": (
        ("int", "t = {d}\nfor i in range({k}):\n    for j in range(i):\n        t += {x}\nreturn t"),
        ("ints", "t = 0\nfor v in {x}:\n    for w in {x}:\n        if v < w:\n            t += 1\nreturn t"),
        ("int", "r = []\nfor i in range({x} % 4):\n    for j in range(2):\n        r.append(i * {k} + j)\nreturn r"),
    ),
    "branching_recursion": (
        ("int", "if {x} < 2:\n    return {d}\nreturn f({x} - 1) + f({x} - 2)"),
        ("int", "if {x} < {k}:\n    return {x}\nreturn f({x} // 2) + f({x} // 3)"),
    ),
    "while_search": (
        ("int", "t = 0\nwhile {x} > 1 and t < 9:\n    {x} = {x} // 2 if {x} % 2 == 0 else 3 * {x} + 1\n    t += 1\nreturn t"),
        ("int", "t = 0\nwhile {x} > 0:\n    t += {x} % 10\n    {x} //= 10\nreturn t + {c}"),
    ),
    "pairs": (
        ("ints", "r = []\nfor i, v in enumerate({x}):\n    r.append(i * v + {c})\nreturn r"),
        ("ints", "return [u - v for u, v in zip({x}, {x}[1:])]"),
    ),
    "letters": (
        ("str", "r = ''\nfor v in {x}:\n    r += chr((ord(v) - 97 + {c}) % 26 + 97)\nreturn r"),
        ("str", "r = ''\nfor i, v in enumerate({x}):\n    r += v.upper() if i % 2 == {j} else v\nreturn r"),
    ),
    "nested_conditionals": (
        ("int", "if {x} > {c}:\n    if {x} % 2 == 0:\n        return {x} // 2\n    return {x} * {k}\nif {x} < {d}:\n    return {d}\n"
            "return {x} + {k}"),
        ("ints", "t = 0\nfor v in {x}:\n    if v % 2 == 0:\n        t += v if v > {c} else {k}\n    else:\n        t -= 1\nreturn t"),
    ),
}  # fmt: skip


def _constants(rng: Random) -> dict[str, str]:
    return {
        "c": str(rng.randint(1, 9)), "d": str(rng.randint(0, 9)), "k": str(rng.randint(2, 5)), "j": str(rng.randint(0, 1)),
        "l": rng.choice("abcde"), "m": rng.choice("vwxyz"), "w": "".join(rng.choice(LETTERS) for _ in range(rng.randint(1, 2))),
    }  # fmt: skip


def draw_value(rng: Random, kind: str, *, small: bool = False) -> str:
    """A literal of a value type; ``small`` keeps integers below 13 (recursion depth) and the rest short."""
    if kind == "int":
        return str(
            rng.randint(0, 12)
            if small
            else rng.choice((rng.randint(0, 9), rng.randint(0, 12), rng.randint(-5, 20)))
        )
    if kind == "ints":
        return repr(
            [
                rng.randint(0, 9 if small else 12)
                for _ in range(rng.randint(1, 3) if small else rng.randint(2, 4))
            ]
        )
    letters = rng.choice(("abc", "abcde", "abcdefghij"))
    if kind == "str":
        return repr("".join(rng.choice(letters) for _ in range(rng.randint(2, 4 if small else 5))))
    if kind == "strs":
        return repr(
            ["".join(rng.choice(letters) for _ in range(rng.randint(1, 2))) for _ in range(rng.randint(2, 3))]
        )
    return repr(
        {rng.choice("abcdefxyz"): rng.randint(0, 12) for _ in range(1 if small else rng.randint(2, 3))}
    )


def _chain(rng: Random, family: str, length: int) -> list[Block]:
    """A chain of blocks around one of the family; its start has a type that an argument may have."""
    while True:
        chain = [rng.choice([block for block in BLOCKS if block.family == family])]
        before = rng.randint(0, length - 1)
        for _ in range(before):
            options = [
                block
                for block in BLOCKS
                if block.target == chain[0].source and block.family in ("arithmetic", "strings", "lists")
            ]
            if options:
                chain.insert(0, rng.choice(options))
        while len(chain) < length:
            options = [
                block
                for block in BLOCKS
                if block.source == chain[-1].target
                and block.family in ("arithmetic", "strings", "lists", family)
            ]
            if not options:
                break
            chain.append(rng.choice(options))
        if len(chain) == length and chain[0].source in PARAMETERS:
            return chain


def _render(rng: Random, chain: list[Block]) -> tuple[str, str, str]:
    """Source, phrase and argument type of a chain. A step goes into a new variable, reassigns, or ends in the
    return."""
    parameter = rng.choice(PARAMETERS[chain[0].source])
    signature, kind = parameter, chain[0].source
    fresh = [name for name in VARIABLES if name != parameter]
    rng.shuffle(fresh)
    reassign = rng.random() < 0.3
    current, lines, phrases = parameter, [], []
    if kind in TWO_ARGUMENTS and chain[0].family != "recursion" and rng.random() < 0.12:
        second = fresh.pop()
        expr, phrase, kind = rng.choice(TWO_ARGUMENTS[kind])
        signature = f"{parameter}, {second}"
        new = parameter if reassign else fresh.pop()
        lines.append(f"{new} = {expr.format(x=parameter, y=second)}")
        phrases.append(phrase)
        current = new
    for position, block in enumerate(chain):
        new, names = fresh.pop(), _constants(rng)
        phrases.append(block.phrase.format(**names))
        if not block.expr:
            lines += [line.format(x=current, y=new, **names) for line in block.lines]
            current = new
            continue
        expr = block.expr.format(x=current, **names)
        if position == len(chain) - 1 and rng.random() < 0.75:
            current = expr
        else:
            current = current if reassign else new
            lines.append(f"{current} = {expr}")
    body = [*lines, f"return {current}"]
    return f"def f({signature}):\n" + "\n".join("    " + line for line in body), ", ".join(phrases), kind


def _from_form(rng: Random, family: str, difficulty: int, kind: str, source: str, phrase: str) -> Sketch:
    parameter, names = rng.choice(PARAMETERS[kind]), _constants(rng)
    body = source.format(x=parameter, **names)
    code = f"def f({parameter}):\n" + "\n".join("    " + line for line in body.split("\n"))
    return Sketch(family, difficulty, code, phrase.format(**names), kind, small=family in SMALL_FAMILIES)


def draw_program(rng: Random, family: str) -> Sketch:
    """Draws a program of a family; the same generator state gives the same program."""
    if family == "recursion":
        return _from_form(rng, family, 2, *rng.choice(RECURSIONS))
    if family in HARD_FORMS:
        kind, source = rng.choice(HARD_FORMS[family])
        return _from_form(rng, family, 4, kind, source, family.replace("_", " "))
    if family == "long_chain":
        base, length = rng.choice(FAMILIES[:-1]), rng.randint(4, 5)
    else:
        base, length = family, rng.choices((1, 2, 3), weights=(2, 4, 3))[0]
    code, phrase, kind = _render(rng, _chain(rng, base, length))
    return Sketch(family, length, code, phrase, kind)


def draw_arguments(rng: Random, sketch: Sketch, *, small: bool = False) -> str:
    """An argument-list text that suits the program's parameters."""
    return ", ".join(draw_value(rng, kind, small=small or sketch.small) for kind in sketch.kinds.split("+"))


def partition(code: str) -> str:
    """``probes``, ``seeds`` or ``training``: which data a program may appear in, decided by its source
    alone."""
    bucket = hashlib.blake2b(code.encode(), digest_size=2).digest()[0]
    return "probes" if bucket < 16 else "seeds" if bucket < 32 else "training"
