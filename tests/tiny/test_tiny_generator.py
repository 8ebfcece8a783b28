"""The synthetic programs and dialogues: determinism, disjoint parts, right answers, and that the parser reads
them."""

import ast
import json
import re
from pathlib import Path
from random import Random

import pytest

from azr.config.selfplay import SelfPlayConfig
from azr.parsing import parse_proposal, parse_solution, split_response
from azr.tasks import Proposal, Rejection, Role, Task, TaskType
from tiny.dialogues import CAREFUL, END, Habits, draw_dialogue, draw_tasks, nudge
from tiny.execution import Unsuitable, execute
from tiny.programs import FAMILIES, HELD_OUT_FAMILIES, draw_arguments, draw_program, partition

DATA = Path(__file__).resolve().parent.parent.parent / "data"
RULES = SelfPlayConfig(frame="compact")


def records(name):
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]


SETS = ("probes/azr_tiny_train_families.jsonl", "probes/azr_tiny_heldout.jsonl", "seeds/azr_tiny.jsonl")


def test_same_seed_same_dialogues():
    first, second = ([draw_dialogue(rng, Habits()) for _ in range(60)] for rng in (Random("a"), Random("a")))
    assert first == second
    assert first != [draw_dialogue(Random("b"), Habits()) for _ in range(60)]


@pytest.mark.parametrize("family", (*FAMILIES, *HELD_OUT_FAMILIES))
def test_programs_of_every_family_mostly_run(family):
    rng, ran = Random(family), 0
    for _ in range(60):
        sketch = draw_program(rng, family)
        tree = ast.parse(sketch.code)
        assert [node.name for node in tree.body] == ["f"]
        try:
            execute(sketch.code, draw_arguments(rng, sketch), trace=True)
            ran += 1
        except Unsuitable:
            pass
    assert ran > 30


def test_trace_ends_in_the_output_and_starts_with_the_arguments():
    found = execute("def f(x):\n    y = x + 1\n    return y * 2", "3", trace=True)
    assert found.states == (("x", "3"), ("y", "4"), ("->", "8"))
    assert found.output == "8"


def test_careful_answers_are_right_and_read_by_the_parser():
    rng = Random(3)
    seen = set()
    for _ in range(150):
        dialogue = draw_dialogue(rng, CAREFUL)
        seen.add(dialogue.stream)
        assert dialogue.response.endswith(END)
        response = split_response(dialogue.response.removesuffix(END), "<think>")
        assert response.format_ok
        kind = dialogue.stream.task_type
        if dialogue.stream.role is Role.PROPOSE:
            code = re.search(r"```python\n(.*?)\n```", dialogue.prompt, re.S)
            program = (
                Task(task_type=TaskType.DEDUCTION, code=code[1], inputs=("1",), outputs=("1",))
                if kind is TaskType.INDUCTION
                else None
            )
            proposal = parse_proposal(kind, response.answer, RULES, program=program)
            assert isinstance(proposal, Proposal), proposal
            for text in proposal.inputs:
                execute(proposal.code, text)
            continue
        solution = parse_solution(kind, response.answer)
        assert not isinstance(solution, Rejection)
        if kind is TaskType.INDUCTION:
            pairs = re.findall(r"^(.+) -> (.+)$", dialogue.prompt, re.M)
            assert len(pairs) == 5
            assert all(execute(solution, given).output == output for given, output in pairs)
            continue
        code = re.search(r"```python\n(.*?)\n```", dialogue.prompt, re.S)[1]
        shown = re.search(r"```(?:input|output)\n(.*?)\n```", dialogue.prompt, re.S)[1]
        given, output = (shown, solution) if kind is TaskType.DEDUCTION else (solution, shown)
        assert execute(code, given).output == output
    assert len(seen) == 6


def test_habits_change_what_they_name():
    def share(habits, role, test):
        rng = Random(5)
        found = [
            dialogue
            for dialogue in (draw_dialogue(rng, habits) for _ in range(400))
            if dialogue.stream.role is role
        ]
        return sum(map(test, found)) / len(found)

    hasty = share(Habits(hasty=1.0), Role.SOLVE, lambda dialogue: dialogue.response.startswith("</think>"))
    assert hasty == 1.0
    assert (
        share(Habits(hasty=0.0), Role.SOLVE, lambda dialogue: dialogue.response.startswith("</think>")) == 0.0
    )


@pytest.mark.parametrize("text", ["3", "True", "'ab'", "''", "[1, 2]", "[]", "{'a': 1}", "{}", "3, 'x'"])
def test_nudge_changes_a_value_and_keeps_it_a_literal(text):
    rng = Random(1)
    values = {nudge(rng, text) for _ in range(20)}
    assert all(isinstance(ast.literal_eval(f"({value},)"), tuple) for value in values)
    assert values - {text}


def test_parts_are_disjoint_by_program():
    programs = {name: {record["snippet"] for record in records(name)} for name in SETS}
    assert {partition(code) for code in programs[SETS[0]] | programs[SETS[1]]} == {"probes"}
    assert {partition(code) for code in programs[SETS[2]]} == {"seeds"}
    rng = Random(9)
    for _ in range(60):
        dialogue = draw_dialogue(rng, Habits())
        sources = re.findall(r"```python\n(.*?)\n```", dialogue.prompt, re.S)
        assert {partition(code) for code in sources} <= {"training"}


def test_shipped_sets_are_what_the_generator_draws():
    drawn = draw_tasks(
        Random("tiny-probes"),
        6,
        FAMILIES,
        (TaskType.DEDUCTION, TaskType.ABDUCTION, TaskType.INDUCTION),
        part="probes",
    )
    assert json.loads(json.dumps(drawn)) == records(SETS[0])[:6]


def test_shipped_sets_are_balanced_and_whole():
    train, held_out, seeds = (records(name) for name in SETS)
    assert len(train) == 400 and len(held_out) == 200 and len(seeds) == 384
    assert {record["family"] for record in train} == set(FAMILIES)
    assert {record["family"] for record in held_out} == set(HELD_OUT_FAMILIES)
    for group in (train, held_out):
        counts = [
            sum(record["task_type"] == kind for record in group)
            for kind in ("abduction", "deduction", "induction")
        ]
        assert max(counts) - min(counts) <= 1
    assert sum(record["task_type"] == "induction" for record in seeds) == 128
    for record in (*train, *held_out, *seeds):
        task = Task.from_json(record)
        for given, output in zip(task.inputs, task.outputs, strict=True):
            assert execute(task.code, given).output == output
