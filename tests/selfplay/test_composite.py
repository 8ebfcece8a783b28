from dataclasses import replace

import numpy as np
import pytest
from selfplay_helpers import task

from azr.config.selfplay import SelfPlayConfig
from azr.programs.source import parse_program
from azr.selfplay.composite import choose_composites, composite_fault, composite_rates

ON = SelfPlayConfig(composite_start_step=1, composite_chance=1.0, composite_min=1, composite_max=2)


def test_schedule():
    config = replace(ON, composite_chance=0.5, composite_max=1, composite_schedule=True)
    assert composite_rates(config, 0) == (0.0, 0)
    assert composite_rates(config, 100) == (0.5, 1)
    assert composite_rates(config, 101) == (pytest.approx(0.51), 2)
    assert composite_rates(config, 151) == (pytest.approx(0.52), 3)
    assert composite_rates(config, 5000) == (pytest.approx(0.8), 3)


def test_choice_reaches_the_maximum_and_leaves_references_alone():
    references = [task(f"def f(x):\n    return x + {number}") for number in range(4)]
    counts = {len(choose_composites(references, ON, 5, np.random.default_rng(seed))) for seed in range(30)}
    assert counts == {1, 2}  # the published code never reached the upper bound
    assert choose_composites(references[:2], ON, 5, np.random.default_rng(0)) == ()  # too few references
    chosen = choose_composites(references, ON, 5, np.random.default_rng(0))
    assert chosen[0].startswith("def g_0(x)") and all(
        "def f(x)" in reference.code for reference in references
    )
    composed = [replace(reference, composite_functions=("def g_0(x): return x",)) for reference in references]
    assert choose_composites(composed, ON, 5, np.random.default_rng(0)) == ()


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("def f(x):\n    return g_0(x) + g_1(x)", ""),
        ("def f(x):\n    def h(y):\n        return g_1(y)\n    return h(g_0(x))", ""),
        ("def f(x):\n    return sum(g_0(i) for i in x) + g_1([i for i in x])", ""),
        ("def f(x):\n    return g_0(x)", "g_1 is not called"),
        ("def f(x):\n    return g_0(x) + g_1(3)", "g_1 is not called"),
        ("def g_0(x):\n    return x\ndef f(x):\n    return g_0(x) + g_1(x)", "g_0 is defined again"),
        ("g_0 = abs\ndef f(x):\n    return g_0(x) + g_1(x)", "g_0 is assigned"),
    ],
)
def test_faults(code, fault):
    found = composite_fault(parse_program(code), 2)
    assert (found == "") if not fault else found.startswith(fault)
