# ruff: noqa: E501
import ast
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.data.fingerprints import make_fingerprint
from azr.programs.canonical import canonical_source, program_fingerprint
from azr.programs.rename import NameConflict, rename_function
from azr.programs.source import (
    SourceError,
    collect_imports,
    drop_globals,
    drop_prints,
    parse_program,
    strip_comments,
)


def run(source: str, entry: str, *arguments):
    namespace: dict = {}
    exec(compile(source, "<test>", "exec"), namespace)
    return namespace[entry](*arguments)


RENAMED = {
    "plain": ("def solve(x):\n    return x + 1\n", (2,)),
    "recursive": ("def solve(n):\n    return 1 if n < 2 else n * solve(n - 1)\n", (5,)),
    "string untouched": ("def solve(x):\n    return 'solve(x) ' + \"solve\" + str(x)\n", (2,)),
    "comment": ("# solve is solved\ndef solve(x):  # solve\n    return x\n", (2,)),
    "method of that name": (
        "class A:\n    def solve(self):\n        return 7\ndef solve(x):\n    return A().solve() + x\n",
        (2,),
    ),
    "attribute": ("class A:\n    solve = 3\ndef solve(x):\n    return A.solve + x\n", (1,)),
    "shadowed by a local": (
        "def solve(x):\n    def g(solve):\n        return solve * 2\n    return g(x)\n",
        (4,),
    ),
    "keyword argument": (
        "def solve(x):\n    def g(solve=1):\n        return solve\n    return g(solve=x)\n",
        (9,),
    ),
    "lambda": ("def solve(x):\n    return (lambda n: n if n < 1 else solve(n - 1))(x)\n", (3,)),
    "f-string": ("def solve(x):\n    return f'{solve.__name__ != \"\"} {x!r:>4} solve'\n", (3,)),
    "multi-line f-string": (
        'def solve(x, deep=True):\n    return f"""\n{solve(x, False) if deep else x}\n solve"""\n',
        (3,),
    ),
    "global statement": ("def solve(x):\n    global solve\n    return solve is not None and x\n", (3,)),
    "non-ascii before it": ("def solve(x):\n    return 'äöü€' if x else ('é', solve(1))\n", (0,)),
    "decorated": (
        "def twice(g):\n    return lambda x: g(g(x))\n@twice\ndef solve(x):\n    return x + 1\n",
        (1,),
    ),
    "walrus in a comprehension": (
        "def solve(x):\n    return [y for n in range(x) if (y := n * 2)] + [y]\n",
        (3,),
    ),
}


@pytest.mark.parametrize("name", RENAMED)
def test_rename_preserves_behaviour(name):
    source, arguments = RENAMED[name]
    renamed = rename_function(source, "solve", "f")
    assert [node.name for node in parse_program(renamed).body if isinstance(node, ast.FunctionDef)][-1] == "f"
    assert run(renamed, "f", *arguments) == run(source, "solve", *arguments)


def test_rename_keeps_the_text_around_it():
    assert rename_function("# solve\ndef  solve( x ) :\n\treturn 'solve', x  # solve\n", "solve", "f") == (
        "# solve\ndef  f( x ) :\n\treturn 'solve', x  # solve\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "f = 3\ndef solve(x):\n    return x + f\n",
        "def solve(x):\n    f = 2\n    return solve(f) if x else f\n",
        "def solve(x):\n    return [solve(f) for f in x]\n",
        "def solve(x):\n    return f(x)\n",
    ],
)
def test_rename_refuses_capture(source):
    with pytest.raises(NameConflict):
        rename_function(source, "solve", "f")


NAMES = st.sampled_from(["a", "solve", "x", "solved", "g"])


@st.composite
def programs(draw):
    """Random small programs in which the entry's name also occurs as parameter, local, string and
    attribute-like text."""

    def expression(depth, names):
        choice = draw(st.integers(0, 6 if depth else 2))
        if choice == 0:
            return str(draw(st.integers(0, 9)))
        if choice == 1 and names:
            return draw(st.sampled_from(sorted(names)))
        if choice == 2:
            return f"len('solve {draw(st.integers(0, 9))}')"
        if choice == 3:
            return f"({expression(depth - 1, names)} + {expression(depth - 1, names)})"
        if choice == 4:
            name = draw(NAMES)
            return f"sum([{expression(depth - 1, names | {name})} for {name} in range(3)])"
        if choice == 5:
            name = draw(NAMES)
            return f"(lambda {name}: {expression(depth - 1, names | {name})})({expression(depth - 1, names)})"
        return (
            f"(solve({expression(depth - 1, names)}, n - 1) if n > 0 else 1)" if "solve" not in names else "2"
        )

    parameter = draw(st.sampled_from(["a", "x", "g"]))
    local = draw(NAMES.filter(lambda name: name != "solve"))
    body = f"    {local} = {expression(2, {parameter})}\n    return {expression(3, {parameter, local})}\n"
    return f"def solve({parameter}, n=2):\n{body}"


@settings(max_examples=120, deadline=None)
@given(programs(), st.integers(0, 5))
def test_rename_preserves_behaviour_of_random_programs(source, argument):
    assert run(rename_function(source, "solve", "f"), "f", argument) == run(source, "solve", argument)


@settings(max_examples=120, deadline=None)
@given(programs(), st.integers(0, 5))
def test_canonical_form_is_stable_and_runs_alike(source, argument):
    canonical = canonical_source(source)
    assert canonical_source(canonical) == canonical
    assert program_fingerprint(rename_function(source, "solve", "other_name")) == program_fingerprint(source)
    assert run(canonical, "v0", argument) == run(source, "solve", argument)


def test_fingerprint_sees_through_names_and_layout_only():
    original = "import math\ndef f(values):\n    '''doc'''\n    total = 0  # sum\n    for v in values:\n        total += math.sqrt(v)\n    return total\n"
    copy = "import math as m\ndef f(xs: list) -> float:\n    s: int = 0\n\n    for x in xs:\n        s += m.sqrt(x)\n    return s\n"
    assert program_fingerprint(original) == program_fingerprint(copy)
    assert program_fingerprint(original) != program_fingerprint(original.replace("sqrt", "floor"))
    assert program_fingerprint(original) != program_fingerprint(original.replace("total = 0", "total = 1"))
    shapes = {make_fingerprint(text).shape for text in (original, original.replace("total = 0", "total = 1"))}
    assert len(shapes) == 1


def test_fingerprint_of_classes():
    left = "class Stack:\n    def __init__(self):\n        self.items = []\n    def push(self, x):\n        self.items.append(x)\ndef f(x):\n    s = Stack()\n    s.push(x)\n    return s.items\n"
    right = "class Pile:\n    def __init__(self):\n        self.data = []\n    def add(self, y):\n        self.data.append(y)\ndef f(z):\n    p = Pile()\n    p.add(z)\n    return p.data\n"
    assert program_fingerprint(left) == program_fingerprint(right)
    assert program_fingerprint(left) != program_fingerprint(left.replace("append", "extend"))


def test_imports_in_order_once():
    tree = parse_program(
        "import re, os\nfrom a.b import (c,\n d as e)\ndef f(x):\n    import math\n    from . import z\n    import math\n    return x\n"
    )
    assert collect_imports(tree) == (
        "import re, os",
        "from a.b import c, d as e",
        "import math",
        "from . import z",
    )


def test_removals():
    source = "'''module'''\nimport re; y = 2\nz = 3\n@staticmethod\ndef f(x):\n    '''doc'''\n    # comment\n    if x:\n        print('print(1)')\n    return x\nprint(f(1))\n"
    assert strip_comments(parse_program(source)).startswith("import re\ny = 2")
    assert "doc" not in strip_comments(parse_program(source)) and "#" not in strip_comments(
        parse_program(source)
    )
    kept = drop_globals(source, parse_program(source))
    assert (
        "y = 2" not in kept
        and "z = 3" not in kept
        and "print(f(1))" not in kept
        and "@staticmethod\ndef f(x)" in kept
    )
    assert "    if x:\n        pass" in drop_prints(parse_program(source))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(:", "syntax_error"),
        ("x = '\x00'", "syntax_error"),
        ("x = '\ud800'", "syntax_error"),
        ("(" * 5000, "program_too_nested"),
        ("-" * 15000 + "1", "program_too_nested"),
        ("x = " + "a+" * 3000 + "a", "program_too_nested"),
        ("x" * 30_000, "program_too_long"),
        ("x = 0x" + "f" * 3_572, "syntax_error"),  # Python reads it, and refuses to print it
        ("x = 0b" + "1" * 14_300, "syntax_error"),
    ],
)
def test_parse_refuses(source, reason):
    with pytest.raises(SourceError) as error:
        parse_program(source)
    assert error.value.reason in (reason, "syntax_error")


@pytest.mark.parametrize("blank", ["\xa0", "\u3000", "\u200d", "\x0b"])
def test_a_text_in_the_braces_of_an_f_string_that_python_escapes_is_printed_or_refused(blank):
    source = f"def g(x):\n    # joined\n    return f\"{{g('{blank}')}}{{x}}\""
    for work in (lambda: strip_comments(parse_program(source)), lambda: rename_function(source, "g", "f")):
        try:
            parse_program(work())
        except SourceError as error:
            assert error.reason == "syntax_error" and sys.version_info < (3, 12)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_fingerprint_never_raises(text):
    assert len(program_fingerprint(text)) == 16
