import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from selfplay_helpers import task

from azr.selfplay.buffer import TaskBuffer, task_key
from azr.selfplay.selection import choose_solve_tasks
from azr.tasks import Task, TaskType


def numbered(number: int) -> Task:
    return task(code=f"def f(x):\n    return x + {number}")


def filled(sizes: dict[int, int], capacity: int = 10_000) -> TaskBuffer:
    """A buffer with so many tasks inserted at each step."""
    buffer, number = TaskBuffer(capacity), 0
    for step, size in sizes.items():
        for _ in range(size):
            assert buffer.add(numbered(number), step) == ""
            number += 1
    return buffer


def test_duplicates_exact_and_renamed():
    buffer = TaskBuffer(10)
    assert buffer.add(task("def f(x):\n    y = x\n    return y", "[1, 2]"), 0) == ""
    assert buffer.add(task("def f(x):\n    y = x\n    return y", "[1, 2]"), 1) == "duplicate"
    assert (
        buffer.add(task("def f(value):\n    # same\n    out = value\n    return out", "[1,2]"), 1)
        == "duplicate_renamed"
    )
    assert buffer.add(task("def f(x):\n    y = x\n    return y", "[1, 3]"), 1) == ""


def test_message_does_not_make_a_task_new():
    pairs = {"inputs": ("1", "2"), "outputs": ("1", "2")}
    one = Task(task_type=TaskType.INDUCTION, code="def f(x):\n    return x", message="a", **pairs)
    two = Task(task_type=TaskType.INDUCTION, code="def f(x):\n    return x", message="b", **pairs)
    assert task_key(one) == task_key(two)


def test_mastered_tasks_leave_first():
    buffer = filled({0: 4}, capacity=4)
    ids = [record.task.task_id for record in buffer]
    for _ in range(2):
        buffer.record_use(ids[2], 1.0)
    buffer.record_use(ids[1], 1.0)
    buffer.record_use(ids[1], 0.5)
    assert buffer.mastered_count == 1
    buffer.add(numbered(100), 3)
    assert ids[2] not in buffer and ids[0] in buffer
    buffer.add(numbered(101), 3)
    assert ids[0] not in buffer and ids[1] in buffer
    record = buffer.get(ids[1])
    assert record is not None and record.accuracies == [1.0, 0.5]


def test_a_restored_buffer_draws_and_evicts_as_the_saved_one_would_have():
    """What was evicted, and what was mastered in which order, leaves no trace that saving would lose."""
    buffer = filled({0: 150}, capacity=100)
    ids = [record.task.task_id for record in buffer]
    for task_id in (ids[40], ids[10], ids[70]):  # not in the order of insertion
        for _ in range(2):
            buffer.record_use(task_id, 1.0)
    buffer.add(numbered(200), 3)
    restored = TaskBuffer(100)
    restored.restore(json.loads(json.dumps(buffer.to_json())))
    for seed in range(5):
        for draw in (
            lambda each, rng: each.draw(6, rng),
            lambda each, rng: each.draw_recent(6, rng, replace=False),
            lambda each, rng: each.draw_recent(6, rng, replace=True),
        ):
            assert draw(buffer, np.random.default_rng(seed)) == draw(restored, np.random.default_rng(seed))
    for number in range(201, 205):
        for each in (buffer, restored):
            each.add(numbered(number), 4)
        assert restored.to_json() == buffer.to_json(), number
    assert (
        ids[40] not in buffer
        and ids[10] not in buffer
        and ids[70] not in buffer
        and buffer.evicted_mastered == 3
    )


def choose(buffer, count, strategy, step, fits=lambda task: True, seed=0):
    return choose_solve_tasks(buffer, count, strategy, step, np.random.default_rng(seed), fits)


def test_max_new_at_step_one_takes_from_all_seeds():
    buffer = filled({0: 256})
    selection = choose(buffer, 64, "max_new", 1)
    assert len({each.task_id for each in selection.tasks}) == 64
    seen = {each.task_id for seed in range(40) for each in choose(buffer, 64, "max_new", 1, seed=seed).tasks}
    assert len(seen) == 256


def test_max_new_takes_the_previous_steps_then_fills_up():
    buffer = filled({0: 100, 4: 30, 5: 50})
    new = {record.task.task_id for record in buffer if record.step == 5}
    selection = choose(buffer, 64, "max_new", 6)
    ids = [each.task_id for each in selection.tasks]
    assert new <= set(ids[:50]) and len(ids) == 64
    # long past: nothing is new
    assert not {each.task_id for each in choose(buffer, 64, "max_new", 9).tasks} >= new


@pytest.mark.parametrize(("share", "seeds"), [(0.0, 0), (0.25, 2), (1.0, 3)])
def test_a_share_of_seeds_stays_in_every_step(share, seeds):
    """Three seeds among many newer tasks of the game: ``max_new`` alone would show none of them again."""
    buffer = TaskBuffer(100)
    for number in range(3):
        buffer.add(task(input_text=str(number)), 0)
    for number in range(20):
        buffer.add(task(input_text=str(100 + number)).with_lineage(source="selfplay"), 5)
    selection = choose_solve_tasks(
        buffer, 8, "max_new", 6, np.random.default_rng(1), lambda each: True, share
    )
    assert len(selection.tasks) == 8 and selection.seeds == seeds
    assert sum(each.lineage.source == "seed" for each in selection.tasks) == seeds
    tight = choose_solve_tasks(
        buffer, 8, "max_new", 6, np.random.default_rng(1), lambda each: each.input != "1", share
    )
    assert (
        len(tight.tasks) == 8
        and tight.seeds == min(seeds, 2)
        and all(each.input != "1" for each in tight.tasks)
    )


def test_half_new():
    buffer = filled({0: 500, 5: 50})
    new = {record.task.task_id for record in buffer if record.step == 5}
    assert len([each for each in choose(buffer, 64, "half_new", 6).tasks[:32] if each.task_id in new]) == 32


def test_step_strategy_prefers_recent_and_works_on_seeds():
    assert len(choose(filled({0: 10}), 64, "step", 1).tasks) == 64
    buffer = filled({0: 200, 99: 10})
    tasks = choose(buffer, 2000, "step", 100).tasks
    recent = sum(buffer.get(each.task_id).step == 99 for each in tasks)
    assert recent / 2000 == pytest.approx(1000 / 1200, abs=0.05)


@pytest.mark.parametrize("strategy", ["max_new", "uniform_total", "half_new", "step"])
def test_length_limit_never_starves(strategy):
    buffer = filled({0: 30, 1: 10})
    only = next(iter(buffer)).task
    selection = choose(buffer, 64, strategy, 2, fits=lambda each: each == only)
    assert len(selection.tasks) == 64 and set(selection.tasks) == {only}
    assert selection.dropped > 0 and selection.repeated >= 0
    assert choose(buffer, 64, strategy, 2, fits=lambda each: False).tasks == []
    assert choose(TaskBuffer(10), 64, strategy, 2).tasks == []


def test_draw_is_uniform():
    buffer = filled({0: 40}, capacity=20)
    counts = np.zeros(40)
    rng = np.random.default_rng(0)
    numbers = {record.task.task_id: index for index, record in enumerate(buffer)}
    for _ in range(2000):
        drawn = buffer.draw(3, rng)
        assert len({record.task.task_id for record in drawn}) == 3
        for record in drawn:
            counts[numbers[record.task.task_id]] += 1
    assert counts[:20] == pytest.approx(300, abs=75)


def test_draw_recent_without_replacement():
    buffer = filled({0: 50, 9: 50})
    rng = np.random.default_rng(0)
    for count in (1, 20, 90, 200):
        drawn = buffer.draw_recent(count, rng, replace=False)
        assert len({record.task.task_id for record in drawn}) == len(drawn) == min(count, 100)


class BufferMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.buffer = TaskBuffer(capacity=6, mastered_visits=2)
        self.step = 0

    @rule(number=st.integers(0, 30))
    def add(self, number):
        self.step += 1
        held = numbered(number).task_id in self.buffer
        assert (self.buffer.add(numbered(number), self.step) == "") == (not held)
        assert numbered(number).task_id in self.buffer

    @rule(number=st.integers(0, 30), accuracy=st.sampled_from([0.0, 0.5, 1.0]))
    def use(self, number, accuracy):
        self.buffer.record_use(numbered(number).task_id, accuracy)

    @rule(count=st.integers(0, 9), seed=st.integers(0, 99))
    def draw(self, count, seed):
        drawn = self.buffer.draw(count, np.random.default_rng(seed))
        assert len({record.task.task_id for record in drawn}) == len(drawn) == min(count, len(self.buffer))

    @rule()
    def save_and_restore(self):
        again = TaskBuffer(6, 2)
        again.restore(self.buffer.to_json())
        assert again.to_json() == self.buffer.to_json()
        assert again.mastered_count == self.buffer.mastered_count

    @invariant()
    def consistent(self):
        records = list(self.buffer)
        assert len(records) == len(self.buffer) <= 6
        assert len({record.key for record in records}) == len(records)
        assert [record.step for record in records] == sorted(record.step for record in records)
        assert all(self.buffer.get(record.task.task_id) is record for record in records)
        assert self.buffer.mastered_count == sum(record.mastered(2) for record in records)


TestBufferMachine = BufferMachine.TestCase
TestBufferMachine.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.integers(0, 6), st.integers(1, 12), min_size=1),
    st.integers(1, 40),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_selection_always_fills_and_prefers_new(sizes, count, step, seed):
    buffer = filled(dict(sorted(sizes.items())))
    selection = choose(buffer, count, "max_new", step, seed=seed)
    assert len(selection.tasks) == count
    new = [record.task.task_id for record in buffer if record.step >= step - 1]
    ids = [each.task_id for each in selection.tasks]
    assert len(set(new) & set(ids)) >= min(len(new), count)
