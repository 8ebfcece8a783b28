# ruff: noqa: E501
"""Every node of a syntax tree is found, and the canonical form of anything parses and depends on no
layout."""

import ast
import sys
from pathlib import Path

import pytest

from azr.programs.canonical import canonical_source
from azr.programs.nodes import nodes_by_level

SOURCES = sorted((Path(__file__).parents[2] / "azr").rglob("*.py"))
TRICKY = [
    "x = 1e999 + 1e999j - -1 ** -2 ** 3",
    "x = (-1) ** 2, (a ** b) ** c, a - (b - c), (a - b) - c, not (not a), ~-+a",
    "x = (a and b) or c and (d or e) or (not f) and g or h or (lambda: 0)",
    "x = a < (b == c) < d, (a, b) in c, a if b else c if d else e, (a if b else c) if (d if e else f) else g",
    "x = [*a, *b], {*a}, {**a, 'k': 1}, (*a,), (), (1,), f(*a, **b), f(x for x in y), f(k=1, **c)",
    "x = a[1], a[1:2], a[::3], a[1:2, 3], a[b, :], a[()], a[(1,)], a[1:][:2], a[*b, c]"
    if sys.version_info >= (3, 11)
    else "x = a[1:2, 3]",
    "x = 3 .real, 3.0.real, True .real, (1 + 2).real, -1 .real, (lambda: 0)(), (yield_)",
    "x = lambda: 0, lambda a, /, b=1, *c, d, e=2, **f: (a, b), lambda *, k: k, (lambda x: x)(1)",
    "x = u'a' 'b', b'\\x00', r'\\d', 'it\\'s \"so\"', '\\n\\u2028\\ud800', ..., None, True, 10 ** 40",
    "x = [(a, b) for a, b in c if d if (e if f else g)], {k: v for k, v in w for x in y}, {i for i in (lambda: j)()}",
    "x = f'{a!r:>{w}} {{}}', f\"{b['k']}\", (y := 1), [z := 2, 3], f'{(lambda q: q)(1)}'",
    "a, b = c = d, e\n(f, g), h = i\n(a.b, c[0]), *d = e\nx += 1, 2\nx: int = 3\n(y): int\nz.w: int",
    "for a, b in c, d:\n    pass\nelse:\n    break_()\nfor (x) in y:\n    continue\nwhile (a := b) and not c:\n    break\nelse:\n    pass",
    "if a:\n    1\nelif b:\n    2\nelse:\n    if c:\n        3\n    d\nif e:\n    pass\nelse:\n    if f:\n        4\n    else:\n        5",
    "try:\n    a\nexcept:\n    b\ntry:\n    a\nexcept (B, C) as d:\n    raise\nexcept E:\n    raise F from g\nelse:\n    h\nfinally:\n    i",
    "with a as b, c:\n    pass\nwith (yield_, d) as (e, f):\n    pass\nassert a, b\ndel a, b[0], (c)\nglobal q, r",
    "import a.b as c, d\nfrom . import e\nfrom ..f import g as h\nfrom i import *",
    "@a\n@b.c(1)\ndef f(a: int = 1, /, b: 'x' = 2, *args: int, k, **kw: dict) -> list[int]:\n    return\nclass A(B, metaclass=C):\n    x: int = 1",
    "x = 1\nclass A:\n\n    def f(self): return (yield_)\n    def g(self): return 1, *a\nclass B(): 'doc'",
    "def f():\n    'doc'\n    'second'\n    return 1\nasync def g():\n    await h\n    async with a: pass\n    return [i async for i in j]",
    "def f():\n    x = yield\n    y = yield from z\n    yield 1, 2\nmatch a:\n    case [1, *r] if r: pass\n    case {'k': v, **w}: pass\n    case _: pass",
]


@pytest.mark.parametrize("source", [*TRICKY, *(path.read_text(encoding="utf-8") for path in SOURCES[:20])])
def test_all_nodes_are_found(source: str) -> None:
    tree = ast.parse(source)
    leaves = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)
    found = nodes_by_level(tree, 100)
    assert found is not None
    assert list(map(id, found)) == [id(node) for node in ast.walk(tree) if not isinstance(node, leaves)]
    assert nodes_by_level(tree, 2) is None


@pytest.mark.parametrize(
    "source",
    [*TRICKY, *(path.read_text(encoding="utf-8") for path in SOURCES if path.stat().st_size < 20_000)],
)
def test_canonical_forms_parse_and_do_not_depend_on_layout(source: str) -> None:
    text = canonical_source(source)
    ast.parse(text)
    assert canonical_source(ast.unparse(ast.parse(source))) == text
