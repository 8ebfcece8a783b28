"""The one human-written task of Absolute Zero, from which a run without seeds begins."""

from __future__ import annotations

from azr.tasks import NO_ERROR, Lineage, Task, TaskType

IDENTITY_CODE = "def f(x):\n    return x"
_IDENTITY_INPUTS = (
    "'Hello world'", "1", "dict(a=1, b=2)", "(1.1, 1.2, 1.3)", "'[[1, 0, 0], [0, 0, 0]]'", "1001101100010001",
)  # fmt: skip
_IDENTITY_OUTPUTS = (
    "'Hello world'", "1", "{'a': 1, 'b': 2}", "(1.1, 1.2, 1.3)", "'[[1, 0, 0], [0, 0, 0]]'", "1001101100010001",
)  # fmt: skip


def identity_task(task_type: TaskType) -> Task:
    """A function that returns its argument."""
    inputs, outputs, message = _IDENTITY_INPUTS[:1], _IDENTITY_OUTPUTS[:1], ""
    if task_type is TaskType.INDUCTION:
        inputs, outputs = _IDENTITY_INPUTS, _IDENTITY_OUTPUTS
        message = "Write a function that returns whatever you input"
    elif task_type is TaskType.ERROR:
        outputs = (NO_ERROR,)
    return Task(
        task_type=task_type,
        code=IDENTITY_CODE,
        inputs=inputs,
        outputs=outputs,
        message=message,
        lineage=Lineage(source="identity"),
    )
