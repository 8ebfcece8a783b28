"""A scripted model and short ways to write responses and tasks."""

from __future__ import annotations

from azr.selfplay.outcomes import Completion
from azr.tasks import Prompt, Task, TaskType


class Script:
    """A model that says what it was told to, in order; counts what was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[tuple[Prompt, int]] = []

    async def __call__(self, prompt: Prompt, n: int) -> list[Completion]:
        self.asked.append((prompt, n))
        said, self.texts = self.texts[:n], self.texts[n:]
        assert len(said) == n, "the script has ended"
        return [Completion(text, n_tokens=len(text.split()) + 1, finished=True) for text in said]


def respond(answer: str, thought: str = "let me see") -> str:
    """A response to a prompt that already opened the think tag."""
    return f"{thought} </think>\n<answer>\n{answer}\n</answer>"


def proposal_text(code: str, input_text: str) -> str:
    return f"```python\n{code}\n```\n```input\n{input_text}\n```"


def task(
    code: str = "def f(x):\n    return x",
    input_text: str = "1",
    output: str = "1",
    task_type: TaskType = TaskType.DEDUCTION,
) -> Task:
    return Task(task_type=task_type, code=code, inputs=(input_text,), outputs=(output,))
