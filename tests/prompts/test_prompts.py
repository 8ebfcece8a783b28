"""What a prompt asks for, the parser reads: round trips through every shipped frame."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import pytest

from azr import prompts
from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError
from azr.parsing import fenced_blocks, parse_proposal, parse_solution, split_response
from azr.prompts import (
    BANNED_WORDS,
    SHIPPED_FRAMES,
    PromptOptions,
    frame_files,
    frame_hash,
    load_frame,
    propose_prompt,
    solve_prompt,
)
from azr.tasks import Prompt, Proposal, Task, TaskType

PROGRAM = "def f(text: str, n):\n    return text[::-1] * n"
PAIR = Task(task_type=TaskType.DEDUCTION, code=PROGRAM, inputs=("'ab', 2",), outputs=("'baba'",))
INDUCTION = Task(
    task_type=TaskType.INDUCTION,
    code=PROGRAM,
    inputs=("'ab', 1", "'b', 2", "'hidden', 1", "'last', 1"),
    outputs=("'ba'", "'bb'", "'neddih'", "'tsal'"),
    message="turn it round",
)
TASKS = {
    TaskType.ABDUCTION: PAIR.__class__(
        task_type=TaskType.ABDUCTION, code=PROGRAM, inputs=PAIR.inputs, outputs=PAIR.outputs
    ),
    TaskType.DEDUCTION: PAIR,
    TaskType.ERROR: PAIR.__class__(
        task_type=TaskType.ERROR, code=PROGRAM, inputs=PAIR.inputs, outputs=("NoError",)
    ),
    TaskType.INDUCTION: INDUCTION,
}


def respond(prompt: Prompt, answer: str) -> str:
    """What a model would say to this prompt, given what the prompt already wrote of it."""
    whole = f"<think> well </think> <answer>{answer}</answer>"
    assert whole.startswith(prompt.response_prefix)
    if prompt.raw:
        assert prompt.text.endswith(prompt.response_prefix) and len(prompt.messages) == 1
    return whole[len(prompt.response_prefix) :]


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
@pytest.mark.parametrize("task_type", [TaskType.ABDUCTION, TaskType.DEDUCTION, TaskType.ERROR])
def test_proposals_round_trip(frame, task_type):
    prompt = propose_prompt(task_type, [TASKS[task_type]] * 2, PromptOptions(frame=frame))
    text = respond(prompt, "```python\ndef f(x):\n    return x\n```\n```input\n[1]\n```")
    response = split_response(text, prompt.response_prefix)
    assert response.format_ok and response.thought == "well"
    found = parse_proposal(task_type, response.answer, SelfPlayConfig())
    assert isinstance(found, Proposal) and (found.code, found.inputs) == ("def f(x):\n    return x", ("[1]",))


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
def test_induction_proposals_round_trip(frame):
    prompt = propose_prompt(TaskType.INDUCTION, [PAIR], PromptOptions(frame=frame, num_inputs=4))
    assert PROGRAM in prompt.text and "4" in prompt.text
    text = respond(
        prompt, "".join(f"```input\n'a', {number}\n```\n" for number in range(4)) + "```message\nrepeat\n```"
    )
    found = parse_proposal(
        TaskType.INDUCTION,
        split_response(text, prompt.response_prefix).answer,
        SelfPlayConfig(num_inputs=4),
        program=PAIR,
    )
    assert isinstance(found, Proposal) and len(found.inputs) == 4 and found.message == "repeat"


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
@pytest.mark.parametrize(
    ("task_type", "label", "answer"),
    [
        (TaskType.ABDUCTION, "input", "'ab', 2"),
        (TaskType.DEDUCTION, "output", "'baba'"),
        (TaskType.ERROR, "output", "NoError"),
        (TaskType.INDUCTION, "python", PROGRAM),
    ],
)
def test_solutions_round_trip(frame, task_type, label, answer):
    task = TASKS[task_type]
    prompt = solve_prompt(task, PromptOptions(frame=frame))
    text = respond(prompt, f"```{label}\n{answer}\n```")
    response = split_response(text, prompt.response_prefix)
    assert response.format_ok and parse_solution(task_type, response.answer) == answer


@pytest.mark.parametrize("task_type", list(TASKS))
def test_worked_examples_of_short_solve_prompts_are_right_and_in_form(task_type):
    """Shown an empty form with a value in it, 0.5B gave that value in 319 of 400 answers."""
    text = solve_prompt(TASKS[task_type], PromptOptions(frame="short")).messages[-1][1]
    for example in text.partition("Now yours:")[0].split("Another:\n"):
        asked, _, reply = example.partition("Reply:\n")
        response = split_response(reply, strict=True)
        assert response.format_ok and response.thought
        answer = parse_solution(task_type, response.answer)
        assert isinstance(answer, str)
        require_right(task_type, {block.label: block.text.strip() for block in fenced_blocks(asked)}, answer)


def require_right(task_type: TaskType, shown: dict[str, str], answer: str) -> None:
    space: dict = {}
    exec(answer if task_type is TaskType.INDUCTION else shown["python"], space)

    def call(arguments: str) -> str:
        exec(f"result = f({arguments})", space)
        return repr(space["result"])

    if task_type is TaskType.ABDUCTION:
        assert call(answer) == shown["output"]
    elif task_type is TaskType.DEDUCTION:
        assert call(shown["input"]) == answer
    elif task_type is TaskType.ERROR:
        with pytest.raises(TypeError):
            call(shown["input"])
        assert answer == "TypeError"
    else:
        for number in range(2):
            assert call(shown[f"input_{number}"]) == shown[f"output_{number}"]


@pytest.mark.parametrize("frame", SHIPPED_FRAMES)
def test_solve_prompts_do_not_hold_the_answer(frame):
    options = PromptOptions(frame=frame)
    secret = Task(
        task_type=TaskType.ABDUCTION,
        code="def f(x):\n    return x + 1",
        inputs=("77311",),
        outputs=("77312",),
    )
    assert "77311" not in solve_prompt(secret, options).text and "77312" in solve_prompt(secret, options).text
    shown = Task(
        task_type=TaskType.DEDUCTION,
        code="def f(x):\n    return x + 1",
        inputs=("77311",),
        outputs=("77312",),
    )
    assert "77312" not in solve_prompt(shown, options).text and "77311" in solve_prompt(shown, options).text
    error = Task(
        task_type=TaskType.ERROR,
        code="def f(x):\n    return 1 // x",
        inputs=("77311 - 77311",),
        outputs=("ZeroDivisionError",),
    )
    assert "ZeroDivisionError" not in solve_prompt(error, options).text
    text = solve_prompt(INDUCTION, options).text
    assert "'ab', 1" in text and "turn it round" in text
    assert "hidden" not in text.replace("hidden outputs", "") and "tsal" not in text and PROGRAM not in text


@pytest.mark.parametrize("frame", ["paper", "chat"])
def test_propose_prompts_show_references_rules_and_banned_words(frame):
    references = [
        PAIR,
        Task(task_type=TaskType.DEDUCTION, code="def f(q):\n    return q", inputs=("3",), outputs=("3",)),
    ]
    text = propose_prompt(TaskType.DEDUCTION, references, PromptOptions(frame=frame)).text
    assert all(word in text for word in BANNED_WORDS)
    assert [f"<snippet_{number}>" in text for number in range(3)] == [True, True, False]
    shown = fenced_blocks(text[text.index("<snippet_0>") :])
    assert [block.label for block in shown] == ["python", "input", "output"] * 2 and shown[0].text == PROGRAM
    assert "top level are removed" not in text and "does not contain the test input" not in text
    strict = propose_prompt(
        TaskType.DEDUCTION,
        references,
        PromptOptions(frame=frame, forbid_globals=True, forbid_test_input=True),
    ).text
    assert "top level are removed" in strict and "does not contain the test input" in strict
    assert (
        propose_prompt(TaskType.ABDUCTION, [], PromptOptions(frame=frame)).text.count(
            "find an input that leads to"
        )
        == 1
    )


def test_composites_are_named_and_shown():
    text = propose_prompt(
        TaskType.ABDUCTION,
        [PAIR],
        PromptOptions(),
        ["def g_0(x):\n    return x", "def g_1(x):\n    return -x"],
    ).text
    assert "`g_0`, `g_1`" in text and "def g_1(x):\n    return -x" in text
    with pytest.raises(ValueError):
        propose_prompt(TaskType.INDUCTION, [PAIR], PromptOptions(), ["def g_0(x): pass"])


def test_chat_frame_is_messages_and_paper_frame_is_one_text():
    chat = solve_prompt(PAIR, PromptOptions(frame="chat"))
    assert (
        [role for role, _ in chat.messages] == ["system", "user"]
        and not chat.raw
        and chat.response_prefix == ""
    )
    paper = solve_prompt(PAIR, PromptOptions(frame="paper"))
    assert paper.raw and paper.text.endswith("Assistant: <think>")


def test_own_frames_are_read_and_checked(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_frame(str(tmp_path))
    (tmp_path / "frame.json").write_text(
        json.dumps({"raw": True, "response_prefix": "<think>", "templates": "paper"})
    )
    (tmp_path / "frame.jinja").write_text("Q: {{ task_text }}\nA: <think>\n")
    prompt = solve_prompt(PAIR, PromptOptions(frame=str(tmp_path)))
    assert prompt.text.startswith("Q: ## Task") and prompt.text.endswith("A: <think>")
    load_frame.cache_clear()
    (tmp_path / "frame.jinja").write_text("Q: {{ task_text }}")
    with pytest.raises(ConfigError, match="response_prefix"):
        load_frame(str(tmp_path))
    (tmp_path / "frame.json").write_text(json.dumps({"raw": True, "prefix": "x"}))
    with pytest.raises(ConfigError, match="unknown keys"):
        load_frame(str(tmp_path))
    for elsewhere in (str(tmp_path), "../../..", "papers"):
        (tmp_path / "frame.json").write_text(json.dumps({"raw": True, "templates": elsewhere}))
        with pytest.raises(ConfigError, match='"templates" names one of'):
            load_frame(str(tmp_path))


@pytest.mark.parametrize(
    ("file", "before", "after", "told"),
    [
        ("solve_abduction.jinja", "task.program", "task.progam", r"solve_abduction.jinja, line 3: .*no attribute 'progam'"),
        ("propose_deduction.jinja", "task.input", "input", r"propose_deduction.jinja, line 7: 'input' is undefined"),
        ("propose_abduction.jinja", "in references", "in references[0].x", r"propose_abduction.jinja, line 2"),
        ("solve_error.jinja", "{{ task.program }}", "{% include 'rules.jinja' %}", "no template rules.jinja"),
        ("frame.jinja", "task_text", "text", r"frame.jinja, line 1: 'text' is undefined"),
        ("frame.jinja", "{{ task_text }}", "", "does not show {{ task_text }}"),
        ("solve_abduction.jinja", "{{ task.program }}", "", "does not show the task's code"),
        ("solve_deduction.jinja", "{{ task.input }}", "", "does not show the task's inputs"),
        ("propose_induction.jinja", "{{ references[0].code }}", "", r"does not show references\[0\].code"),
        ("frame.json", "true", '"yes"', 'object with "raw": true or false'),
        ("frame.json", '"<think>"', "null", "response_prefix has to be text"),
    ],
)  # fmt: skip
def test_a_slip_in_an_own_frame_is_told_with_its_file(tmp_path, file, before, after, told):
    """It was a traceback once the first such prompt was made; a prompt without its task was asked all the same."""
    shutil.copytree(Path(prompts.__file__).parent / "compact", tmp_path / "mine")
    path = tmp_path / "mine" / file
    assert before in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        load_frame(str(tmp_path / "mine"))


def test_an_own_frame_saved_by_an_editor_of_windows(tmp_path):
    """The byte-order mark of each file stood in every prompt; UTF-16 and Latin-1 were a traceback."""
    shipped = Path(prompts.__file__).parent / "compact"
    asked = solve_prompt(PAIR, PromptOptions(frame="compact"))
    for encoding, line_end in (("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("latin-1", "\n")):
        folder = tmp_path / encoding
        shutil.copytree(shipped, folder)
        for path in folder.glob("*.j*" if encoding == "utf-8-sig" else "*.jinja"):
            text = path.read_text(encoding="utf-8") + ("{# \xe9 #}" if path.suffix == ".jinja" else "")
            path.write_bytes(text.replace("\n", line_end).encode(encoding))
        if encoding == "utf-8-sig":
            assert solve_prompt(PAIR, PromptOptions(frame=str(folder))).messages == asked.messages
        else:
            with pytest.raises(
                ConfigError, match=f"a template in .*{encoding} is not UTF-8 .* save it as UTF-8"
            ):
                load_frame(str(folder))


@pytest.mark.parametrize("frame", ["chat", "short"])
def test_a_numbered_induction_prompt_shows_how_the_program_is_called(frame):
    """Without it, half of the inputs of a 1.5B model had too few arguments or too many."""
    options = PromptOptions(frame=frame, numbered=True)
    prompt = propose_prompt(TaskType.INDUCTION, [PAIR], options)
    assert f"```input\n{PAIR.input}\n```" in prompt.text


@pytest.mark.parametrize("task_type", ["deduction", "abduction"])
def test_the_worked_examples_of_the_frame_cot_are_true(task_type: str) -> None:
    template = (Path(prompts.__file__).parent / "cot" / f"solve_{task_type}.jinja").read_text(
        encoding="utf-8"
    )
    examples = re.findall(
        r"\[PYTHON\]\n(.*?)\nassert f\((.*?)\) == (.*?)\n\[/PYTHON\]\n<think>.*?```\w+\n(.*?)\n```",
        template,
        re.DOTALL,
    )
    assert len(examples) == 2
    for program, arguments, output, answer in examples:
        arguments, output = (text.replace("??", answer) for text in (arguments, output))
        names: dict[str, object] = {}
        exec(f"{program}\nresult = f({arguments})", names)  # the project's own text
        assert names["result"] == ast.literal_eval(output)


def test_a_frame_that_came_with_somebodys_model_reaches_no_python(tmp_path: Path) -> None:
    """``azr evaluate`` reads the frame of an exported model from its folder: its templates ran anything."""
    frame, proof = tmp_path / "azr_frame", tmp_path / "proof"
    shutil.copytree(Path(prompts.__file__).parent / "chat", frame)
    reach = "cycler.__init__.__globals__.os.mkdir"
    (frame / "frame.jinja").write_text(f"{{% set _ = {reach}({str(proof)!r}) %}}{{{{ task_text }}}}")
    with pytest.raises(ConfigError, match=r"frame\.jinja, line 1: .*unsafe"):
        load_frame(str(frame))
    assert not proof.exists()


def test_the_files_of_a_frame_are_those_that_its_templates_name(tmp_path: Path) -> None:
    """An edit in a subfolder was no change of the frame, and an export left that folder behind."""
    frame = tmp_path / "mine"
    shutil.copytree(Path(prompts.__file__).parent / "chat", frame)
    (frame / "a" / "b").mkdir(parents=True)
    (frame / "a" / "b" / "end.md").write_text("Think.")
    (frame / "a" / "said.jinja").write_text('{% import "a/b/end.md" as end %}{{ task_text }}')
    (frame / "a" / "other.jinja").write_text("not named")
    (frame / "frame.jinja").write_text('{% include "/a/said.jinja" %}')
    load_frame(str(frame))
    before = frame_hash(str(frame))
    assert {"a/said.jinja", "a/b/end.md", "frame.json"} < frame_files(str(frame)).keys()
    assert not {"a/other.jinja", "a"} & frame_files(str(frame)).keys()
    (frame / "a" / "b" / "end.md").write_text("Think twice.")
    assert frame_hash(str(frame)) != before
    (frame / "frame.jinja").write_text('{% set part = "said" %}{% include "a/" ~ part ~ ".jinja" %}')
    assert {"a/said.jinja", "a/other.jinja"} < frame_files(str(frame)).keys(), "no telling which"


def test_a_frame_that_names_a_file_outside_of_its_folder_is_refused(tmp_path: Path) -> None:
    """In a branch that is met in mid-run only, too."""
    frame = tmp_path / "outside"
    shutil.copytree(Path(prompts.__file__).parent / "chat", frame)
    (tmp_path / "beside.jinja").write_text("x")
    with open(frame / "solve_error.jinja", "a") as file:
        file.write('{% if options.max_output_chars == 7 %}{% include "../beside.jinja" %}{% endif %}')
    with pytest.raises(ConfigError, match=r"solve_error\.jinja names \.\./beside\.jinja, outside of"):
        load_frame(str(frame))
    assert "beside.jinja" not in str(frame_files(str(frame)).keys())
