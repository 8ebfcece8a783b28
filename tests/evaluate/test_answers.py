"""Answers on disk: going on, refusing other settings, and what is asked."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from run_fixture import PROBE_FILE, PROJECT, TINY, make_run

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, ModelError, RunError
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.engine_requests import Decoding, EngineModel
from azr.evaluate.evaluation import evaluate
from azr.evaluate.items import Item, evenly, suite_fingerprint
from azr.evaluate.models import ModelSource, resolve, slug
from azr.evaluate.options import Options, decoding_of, require_engine_fits
from azr.evaluate.scoring import judge_all, score
from azr.evaluate.suites import build_suite
from azr.evaluate.summary import score_table, verdict_lines
from azr.evaluate.tasks_suite import probe_suite
from azr.programs.rename import rename_function
from azr.sandbox import Sandbox
from azr.system.files import append_jsonl, read_json, write_json_atomic, write_jsonl_atomic
from azr.system.hashes import sampling_seed
from azr.tasks import Prompt, Task, TaskType

COMPACT = SelfPlayConfig(frame="compact")


def test_answers_survive_a_torn_line_and_other_settings_are_refused(tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "a")
    with store.opened({"model": "m1", "seed": 0}):
        append_jsonl(store.path, [vars(Answer("x", 0, "one")), vars(Answer("x", 1, "two", finished=False))])
        with store.path.open("ab") as file:
            file.write(b'{"item_id": "y", "samp')
    with store.opened({"model": "m1", "seed": 0}):
        assert [answer.completion for answer in store.read().values()] == ["one", "two"]
        with (
            pytest.raises(RunError, match="another evaluation writes"),
            AnswerStore(tmp_path / "a").opened({"model": "m1", "seed": 0}),
        ):
            pass
    with (
        pytest.raises(RunError, match="answers of another model of this name"),
        store.opened({"model": "m2", "seed": 0}),
    ):
        pass
    with store.opened({"model": "m2", "seed": 0}, restart=True):
        assert store.read() == {}


@pytest.mark.parametrize("content", [None, "", "[]"])
def test_answers_whose_settings_are_lost_are_not_taken_for_these(tmp_path: Path, content: str | None) -> None:
    """Without request.json they counted under whatever settings came next; an empty one had no way out."""
    store = AnswerStore(tmp_path / "a")
    with store.opened({"seed": 0}):
        append_jsonl(store.path, [vars(Answer("x", 0, "one"))])
    store.request_path.unlink()
    if content is not None:
        store.request_path.write_text(content)
    with (
        pytest.raises(RunError, match="is missing or damaged; give another --out, or --restart"),
        store.opened({"seed": 1}),
    ):
        pass
    with store.opened({"seed": 1}, restart=True):
        assert store.read() == {}


def test_a_suite_s_fingerprint_follows_its_prompts() -> None:
    assert suite_fingerprint(probe_suite(PROBE_FILE, COMPACT)) == suite_fingerprint(
        probe_suite(PROBE_FILE, COMPACT)
    )
    assert suite_fingerprint(probe_suite(PROBE_FILE, COMPACT)) != suite_fingerprint(
        probe_suite(PROBE_FILE, SelfPlayConfig(frame="chat"))
    )


QUESTION = Prompt((), raw=False)


def test_a_limit_takes_items_evenly() -> None:
    items = [Item(str(number), "suite", QUESTION) for number in range(164)]
    positions = [items.index(item) for item in evenly(items, 7)]
    assert len(positions) == 7 and positions == sorted(positions)
    assert {b - a for a, b in itertools.pairwise(positions)} <= {len(items) // 7, len(items) // 7 + 1}
    assert evenly(items, 0) == list(items)


@pytest.mark.parametrize("limit", [10, 20, 40, 100, 120, 200, 300])
def test_a_limit_takes_each_task_type_in_proportion(limit: int) -> None:
    """The bundled model's probes repeat their types and families in cycles: 200 of 600 had no induction task, and half of
    the families."""
    rows = [
        json.loads(line)
        for name in ("azr_tiny_heldout", "azr_tiny_train_families")
        for line in PROBE_FILE.with_name(f"{name}.jsonl").read_text().splitlines()
    ]
    items = [Item(str(number), row["task_type"], QUESTION) for number, row in enumerate(rows)]
    chosen = evenly(items, limit)
    assert len({item.item_id for item in chosen}) == limit and chosen == evenly(items, limit)
    whole, part = (Counter(item.kind for item in some) for some in (items, chosen))
    assert all(abs(part[kind] - count * limit / len(items)) <= 1 for kind, count in whole.items())
    families = Counter(rows[int(item.item_id)]["family"] for item in chosen)
    if limit >= 100:
        expected = Counter(row["family"] for row in rows)
        assert all(families[name] > 0.3 * count * limit / len(rows) for name, count in expected.items())


def gold_answer(task: Task) -> str:
    if task.task_type is TaskType.INDUCTION:
        return f"```python\n{task.program}\n```"
    word, text = ("input", task.input) if task.task_type is TaskType.ABDUCTION else ("output", task.output)
    return f"```{word}\n{text}\n```"


def test_probes_are_judged_as_in_training() -> None:
    """Gold answers are right; without the format they are wrong, as the trainer has it."""
    suite = probe_suite(PROBE_FILE, COMPACT)
    items = evenly(suite.items, 30)
    right = [
        Answer(item.item_id, 0, f"hm</think><answer>{gold_answer(suite.tasks[item.item_id])}</answer>")
        for item in items
    ]
    bare = [
        Answer(item.item_id, 1, f"<answer>{gold_answer(suite.tasks[item.item_id])}</answer>")
        for item in items
    ]
    with Sandbox() as sandbox:
        judged = judge_all(suite, items, [*right, *bare], sandbox, progress=False)
    assert all(each.verdict.score == 1 for each in judged if each.answer.sample == 0)
    assert all(
        (each.verdict.score, each.verdict.reason) == (0, "bad_format")
        for each in judged
        if each.answer.sample == 1
    )
    result = score(suite, "gold", items, judged)
    assert result.estimates["pass@1"].value == 0.5
    assert {name for name in result.estimates if "/" in name} == {
        f"pass@1/{kind}" for kind in {item.kind for item in items}
    }
    assert "gold" in score_table([result])


def test_unknown_suites_and_missing_files_are_named() -> None:
    with pytest.raises(ConfigError, match="'mmlu' is unknown"):
        build_suite("mmlu", COMPACT)
    with pytest.raises(ConfigError, match="its authors' file"):
        build_suite("cruxeval-i", COMPACT)


def test_sampling_defaults_follow_the_number_of_samples() -> None:
    source = ModelSource("m", "x", TINY)
    assert decoding_of(source, Options(suites=())).temperature == 0
    assert decoding_of(source, Options(suites=(), samples=4)).temperature == 1
    with pytest.raises(ModelError, match="4 equal answers"):
        decoding_of(source, Options(suites=(), samples=4, temperature=0.0))


def test_what_the_engine_would_refuse_is_told_before_it_starts() -> None:
    """Context and heads of the bundled model: 1024 tokens and 4. It was the engine's traceback, half a minute later."""
    model, suite = EngineModel("m", TINY), build_suite("probes", COMPACT)
    for prompt, answer, cards in ((1000, 24, 2), (900, 124, 1)):
        require_engine_fits(
            model, Decoding(max_prompt_tokens=prompt, max_response_tokens=answer), [suite], cards
        )
    for prompt, answer, cards, told in (
        (1000, 25, 1, "its context is 1024 tokens, .* --max-prompt-tokens 999 --max-response-tokens 25"),
        (400, 10**9, 1, "--max-prompt-tokens 1 --max-response-tokens 1023"),
        (400, 128, 3, "4 attention heads, which --tensor-parallel 3 does not divide"),
    ):
        with pytest.raises(ModelError, match=told):
            require_engine_fits(
                model, Decoding(max_prompt_tokens=prompt, max_response_tokens=answer), [suite], cards
            )
    require_engine_fits(
        model, Decoding(max_prompt_tokens=9999, max_response_tokens=1), [replace(suite, style="native")], 1
    )


def test_seeds_depend_on_item_and_sample_only() -> None:
    assert sampling_seed(0, "a", 1) == sampling_seed(0, "a", 1)
    assert (
        len(
            {sampling_seed(seed, item, sample) for seed in (0, 1) for item in ("a", "b") for sample in (0, 1)}
        )
        == 8
    )
    assert all(0 <= sampling_seed(0, str(n), 0) < 2**31 for n in range(100))


def test_a_small_context_shrinks_the_limits_and_labels_are_file_names() -> None:
    source = resolve(str(TINY))
    context = json.loads((TINY / "config.json").read_text())["max_position_embeddings"]
    assert source.max_prompt_tokens + source.max_response_tokens == context
    assert slug("../Qwen/Qwen2.5-Coder-0.5B") == "Qwen-Qwen2.5-Coder-0.5B"
    with pytest.raises(ModelError, match="no such folder"):
        resolve("./nowhere")


def test_prompts_that_do_not_fit_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    """The real engine process: it tokenises, finds nothing to ask, and ends without loading the model."""
    options = Options(
        suites=[f"probes={PROBE_FILE}"],
        limit=3,
        max_prompt_tokens=5,
        out=tmp_path,
        frame="compact",
    )
    with pytest.raises(ModelError, match="no prompt fits the limit of 5 tokens"):
        evaluate([str(TINY)], options, lambda _: None)


def test_an_interrupted_evaluation_is_judged_on_what_all_models_have_answered(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(TINY, other)
    suite = f"probes={PROBE_FILE}"
    options = Options(suites=(suite,), out=tmp_path / "out", limit=6, frame="compact", partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered by every model"):
        evaluate([str(TINY), str(other)], options, say=lambda _: None)
    with pytest.raises(ConfigError, match="--restart discards the answers"):
        evaluate([str(TINY)], replace(options, restart=True))

    items = evenly(probe_suite(PROBE_FILE, COMPACT).items, 6)
    tasks = probe_suite(PROBE_FILE, COMPACT).tasks
    for folder, answered, right in (("A", items[:4], True), ("B", items[1:], False)):
        [request] = (tmp_path / "out").glob(
            f"*{'other' if folder == 'B' else TINY.name}*/probes/request.json"
        )
        store = AnswerStore(request.parent)
        for item in answered:
            gold = gold_answer(tasks[item.item_id]) if right else "```output\n'no'\n```"
            store.append([Answer(item.item_id, 0, f"hm</think><answer>{gold}</answer>", n_tokens=9)])

    said: list[str] = []
    found = evaluate([str(TINY), str(other)], options, say=said.append)
    first, second = found["results"]
    assert first["estimates"]["pass@1"]["value"] == 1.0 and second["estimates"]["pass@1"]["value"] == 0.0
    assert found["comparisons"][0]["n"] == 3
    assert "probes: 3 of 6 tasks, those answered by all so far" in "\n".join(said)


def test_a_model_that_cannot_be_asked_costs_no_answers_of_the_one_before_it(tmp_path: Path) -> None:
    """--restart discarded those of the first model before it was found that the second one's requests do not fit."""
    small, seeds = tmp_path / "small", PROJECT / "data" / "seeds" / "azr_tiny.jsonl"
    shutil.copytree(TINY, small)
    write_json_atomic(
        small / "config.json", read_json(TINY / "config.json") | {"max_position_embeddings": 12}
    )
    suites = [f"proposals={seeds}"]
    options = Options(suites=suites, out=tmp_path / "out", frame="compact", partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([str(TINY)], options, lambda _: None)
    [request] = (tmp_path / "out").glob("*/proposals/request.json")
    AnswerStore(request.parent).append([Answer("abduction/x", 0, "hm")])
    with pytest.raises(ModelError, match="no induction request in the frame compact fits"):
        evaluate([str(TINY), str(small)], replace(options, partial=False, restart=True), lambda _: None)
    assert AnswerStore(request.parent).read()


def test_another_file_as_a_suite_of_the_same_name_leaves_the_answers_to_the_first(tmp_path: Path) -> None:
    """The refusal named two hashes."""
    tasks = list(probe_suite(PROBE_FILE, COMPACT).tasks.values())
    files = [tmp_path / "one" / "mine.jsonl", tmp_path / "two" / "mine.jsonl"]
    for number, file in enumerate(files):
        write_jsonl_atomic(file, [tasks[number].to_json()])
    options = Options(suites=(), out=tmp_path / "out", frame="compact", partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([str(TINY)], replace(options, suites=[f"probes={files[0]}"]), lambda _: None)
    [request] = (tmp_path / "out").glob("*/probes/request.json")
    answers = request.with_name("answers.jsonl")
    AnswerStore(answers.parent).append([Answer("mine/x", 0, "hm")])
    before = answers.read_bytes(), request.read_bytes()
    with pytest.raises(RunError, match=r"probes holds answers to other questions: .*; give another --out"):
        evaluate([str(TINY)], replace(options, suites=[f"probes={files[1]}"]), lambda _: None)
    assert (answers.read_bytes(), request.read_bytes()) == before


@pytest.mark.parametrize("taken", [[], [0, 2], [0, 1, 2, 3, 4, 5]])
def test_tasks_that_the_run_trains_on_are_counted_and_left_out_beside_the_score(tmp_path, taken) -> None:
    """A score on tasks of data.extra_files looked like one on new tasks."""
    run = make_run(tmp_path)
    suite = probe_suite(PROBE_FILE, COMPACT)
    items = evenly(suite.items, 6)
    write_jsonl_atomic(tmp_path / "mine.jsonl", [suite.tasks[item.item_id].to_json() for item in items])
    known = [suite.tasks[items[number].item_id] for number in taken]
    renamed = [replace(task, code=f"{rename_function(task.code, 'f', 'g')}\n# a copy") for task in known]
    write_jsonl_atomic(run.cycle_tasks(1), [task.to_json() for task in renamed[:1]])
    write_jsonl_atomic(run.shard(1), [{"torn": 1}, *(task.to_json() for task in renamed[1:])])

    options = Options(suites=[f"probes={tmp_path / 'mine.jsonl'}"], out=tmp_path / "out")
    unanswered = replace(options, partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([f"{run.root}@0"], unanswered, say=lambda _: None)
    [request] = (tmp_path / "out").glob("*/probes/request.json")
    store = AnswerStore(request.parent)
    own = [f"mine/{suite.tasks[item.item_id].task_id}" for item in items]
    for number, (item, item_id) in enumerate(zip(items, own, strict=True)):
        gold = gold_answer(suite.tasks[item.item_id]) if number in (0, 1, 2) else "no"
        store.append([Answer(item_id, 0, f"hm</think><answer>{gold}</answer>", n_tokens=9)])

    said: list[str] = []
    [found] = evaluate([f"{run.root}@0"], unanswered, say=said.append)["results"]
    told = "\n".join(said)
    assert found["estimates"]["pass@1"]["value"] == 0.5
    assert sorted(found["trained_on"]) == sorted(own[number] for number in taken)
    counted = f"{len(taken)} of 6 tasks have the program of a task that a run of these models trains on"
    assert (counted in told) is bool(taken)
    if len(taken) == 2:
        assert "pass@1 of the other 4, frame, strict: 25.0% (" in told
        assert found["untouched"]["value"] == 0.25 and found["untouched"]["n"] == 4
    else:
        assert found["untouched"] is None


def test_a_model_beside_a_run_is_asked_the_run_s_probes_and_a_guessed_frame_is_named(tmp_path: Path) -> None:
    """An exported model got the shipped probes and its run its own: 18 and 32 % for one model, "on 5 tasks". Without
    its azr.json it was asked in the published frame without a word: 0 %."""
    run, alone = make_run(tmp_path), tmp_path / "alone"
    shutil.copytree(TINY, alone)
    options = Options(suites=["probes"], out=tmp_path / "out", partial=True)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([str(alone), f"{run.root}@0"], options, say=lambda _: None)

    suite = probe_suite(run.probes, COMPACT)
    for request in (tmp_path / "out").glob("*/probes/request.json"):
        AnswerStore(request.parent).append([Answer(item.item_id, 0, "no") for item in suite.items[:4]])
    said: list[str] = []
    found = evaluate([str(alone), f"{run.root}@0"], options, say=said.append)
    assert [len(scores["item_scores"]) for scores in found["results"]] == [4, 4]
    told = "\n".join(said)
    assert "asked in the frame 'compact', as the run, since nothing says in which it was trained" in told
    assert told.count("asked in the frame") == 1, "the run says how it is asked"


def test_code_that_the_command_line_trusts_reads_the_tokenizer_too(tmp_path: Path) -> None:
    """Only the engine was told of ``--trust-remote-code``: before it starts, the tokenizer "cannot be read"."""
    folder = tmp_path / "own-code"
    shutil.copytree(TINY, folder)
    (folder / "tokenizer.json").rename(folder / "own.json")
    code = f"""\
from transformers import PreTrainedTokenizerFast
class OwnTokenizer(PreTrainedTokenizerFast):
    def __init__(self, **settings):
        super().__init__(**(settings | {{"tokenizer_file": {str(folder / "own.json")!r}}}))
"""
    (folder / "tokenization_own.py").write_text(code)
    settings = folder / "tokenizer_config.json"
    # of Qwen's own family transformers takes no tokenizer but its own
    write_json_atomic(folder / "config.json", read_json(TINY / "config.json") | {"model_type": "llama"})
    own = {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}
    write_json_atomic(settings, read_json(settings) | {"auto_map": own, "tokenizer_class": "OwnTokenizer"})
    options = Options(suites=(f"probes={PROBE_FILE}",), out=tmp_path / "out", frame="compact", partial=True)
    with pytest.raises(ModelError, match="its tokenizer cannot be read"):
        evaluate([str(folder)], options)
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([str(folder)], replace(options, trust_remote_code=True))


def test_scores_of_different_items_in_a_table_are_called_so() -> None:
    suite = probe_suite(PROBE_FILE, COMPACT)
    items = suite.items[:6]
    with Sandbox() as sandbox:
        judged = judge_all(
            suite, items, [Answer(item.item_id, 0, "no") for item in items], sandbox, progress=False
        )
    scores = [score(suite, "a", items[:5], judged[:5]), score(suite, "b", items[3:], judged[3:])]
    assert any("are of different items, of which they share 2" in line for line in verdict_lines(scores)[0])
    same = [score(suite, name, items, judged) for name in "ab"]
    assert not any("different items" in line for line in verdict_lines(same)[0])


def test_the_programs_of_cruxeval_are_looked_for_too(tmp_path: Path) -> None:
    """Only beside ``--suite probes=PATH`` were they counted, though docs/evaluate.md says it of CRUXEval."""
    run = make_run(tmp_path)
    code = "def f(x):\n    return x * 7 + {number}"
    rows = [
        {
            "id": f"sample_{number}",
            "code": code.format(number=number),
            "input": "1",
            "output": str(7 + number),
        }
        for number in range(4)
    ]
    write_jsonl_atomic(tmp_path / "crux.jsonl", rows)
    task = {"task_type": "deduction", "snippet": rows[1]["code"], "input": "2", "output": "15"}
    write_jsonl_atomic(run.cycle_tasks(1), [task])
    options = Options(
        suites=[f"cruxeval-o={tmp_path / 'crux.jsonl'}"],
        styles=["frame"],
        out=tmp_path / "out",
        partial=True,
    )
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate([f"{run.root}@0"], options, say=lambda _: None)
    [request] = (tmp_path / "out").glob("*/cruxeval-o/request.json")
    AnswerStore(request.parent).append([Answer(row["id"], 0, "no") for row in rows])
    [found] = evaluate([f"{run.root}@0"], options, say=lambda _: None)["results"]
    assert list(found["trained_on"]) == ["sample_1"]


def test_models_that_are_asked_otherwise_are_called_so(tmp_path: Path) -> None:
    """The same weights within 24 tokens, not 128, were 8 points worse and had "clearly lost" their form."""
    first = make_run(tmp_path / "one")
    other = make_run(
        tmp_path / "two", rollout={"max_response_tokens": 24}, sandbox={"limits": {"cpu_s": 1.0}}
    )
    options = Options(suites=["probes"], out=tmp_path / "out", partial=True)
    models = [f"{first.root}@0", f"{other.root}@0"]
    with pytest.raises(ModelError, match="no task of these suites has been answered"):
        evaluate(models, options, say=lambda _: None)
    suite = probe_suite(first.probes, COMPACT)
    for request in (tmp_path / "out").glob("*/probes/request.json"):
        AnswerStore(request.parent).append([Answer(item.item_id, 0, "no") for item in suite.items[:4]])
    record = evaluate(models, options, say=lambda _: None)
    alike, cut = record["results"]
    assert not record["comparisons"] and not record["verdicts"] and cut["otherwise"]
    assert list(alike["notes"]) == []
    [note] = cut["notes"]
    assert "is: answers within 24, not 48 tokens (--max-response-tokens gives all the same)" in note
    assert "; sandbox.limits.cpu_s 1.0, not 2.0" in note
