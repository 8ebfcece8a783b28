"""Buffer and pool call the same tasks copies."""

from __future__ import annotations

import pytest

from azr.config.data import DataConfig
from azr.data.duplicates import drop_duplicates
from azr.data.fingerprints import make_fingerprint
from azr.selfplay.buffer import TaskBuffer
from azr.tasks import Task, TaskType

FLOOR = "def f(x):\n    return math.floor(x)"


def task(code: str = "def f(x):\n    return x", text: str = "1", imports: tuple[str, ...] = ()) -> Task:
    return Task(task_type=TaskType.DEDUCTION, code=code, inputs=(text,), outputs=("1",), imports=imports)


@pytest.mark.parametrize(
    ("one", "other", "copies"),
    [
        (task(), task("def f(y):  # the same\n    return y"), True),
        (task(text="[1,2]"), task(text="[ 1, 2 ]"), True),
        (task(text="Box( 1 )"), task(text="Box(  1  )"), True),
        (task(FLOOR, imports=("import math",)), task(f"import math\n{FLOOR}"), True),
        (task(), task(text="2"), False),
        (task(), task(text="'1'"), False),
        (task(), task("def f(x):\n    return -x"), False),
    ],
)
def test_buffer_and_pool_agree(one: Task, other: Task, copies: bool) -> None:
    prints = {each.program: make_fingerprint(each.program) for each in (one, other)}
    _, dropped = drop_duplicates([one, other], prints, DataConfig(near_duplicates=False))
    buffer = TaskBuffer(10)
    buffer.add(one, 1)
    assert (bool(dropped), buffer.holds(other)) == (copies, copies)
