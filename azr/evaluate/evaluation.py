"""One evaluation: models x suites -> answers -> verdicts -> results on disk and a table."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from azr.errors import ModelError
from azr.evaluate import models
from azr.evaluate.doubts import (
    doubts_of_references,
    picked_items,
    picking_runs,
    trained_elsewhere,
    trained_items,
    trained_programs,
)
from azr.evaluate.engine import answer_all, prompt_limit
from azr.evaluate.engine_requests import EngineModel
from azr.evaluate.items import Item, Suite, evenly
from azr.evaluate.models import ModelSource
from azr.evaluate.options import Options, checked, decoding_of, engine_options, require_engine_fits
from azr.evaluate.recorded import judge_recorded
from azr.evaluate.results import publish, write_scores
from azr.evaluate.scoring import (
    Scores,
    judge_all,
    score,
    without_picking,
    without_trained,
)
from azr.evaluate.speaker import speaker_of
from azr.evaluate.suite_run import (
    FORMAT,
    SuiteRun,
    engine_model,
    noting_differences,
    open_suite_run,
    shared_answers,
)
from azr.evaluate.suites import STYLES, build_suite, not_asked, sandbox_config, wanted_styles
from azr.evaluate.summary import compare_scores, legend, notes, score_table, verdict_lines
from azr.evaluate.tasks_suite import TaskSuite
from azr.models.exported import EXPORT_RECORD
from azr.run.checkpoints import reading
from azr.run.rundir import told_apart
from azr.sandbox import Sandbox
from azr.selfplay.rows import Fits
from azr.system.files import json_text
from azr.wording import counted


def evaluate(specs: Sequence[str], options: Options, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Evaluates each model on each suite; two models are also compared in pairs.

    Returns:
        what was written to ``result.json`` of the output folder.

    Raises:
        AzrError: a model, suite or file is not usable; the engine or the sandbox failed.
    """
    options = checked(options)
    if options.answers is not None:
        recorded = [judge_recorded(spec, options, say) for spec in options.suites]
        return _report(recorded, options.out or Path("evaluations"), say)

    sources = asked_beside_runs(each_once([models.resolve(spec) for spec in specs], say))
    if options.trust_remote_code:
        sources = [replace(source, trust_remote_code=True) for source in sources]
    out = options.out or (sources[0].run.root if sources[0].run else Path()) / "evaluations"
    with contextlib.ExitStack() as held:
        asked: list[tuple[ModelSource, EngineModel, list[Suite]]] = []
        unasked: list[str] = []
        for source in sources:
            if source.note:
                say(source.note)
            if source.checkpoint is not None:
                held.enter_context(reading(source.checkpoint))
            model = held.enter_context(engine_model(source))
            decoding = decoding_of(source, options)
            fits = prompt_limit(model.folder, decoding.max_prompt_tokens, source.trust_remote_code)
            found = [_suites(source, spec, options, fits) for spec in options.suites]
            unasked += [told for _, sentences in found for told in sentences]
            suites = [suite for suites, _ in found for suite in suites]
            require_engine_fits(model, decoding, suites, options.tensor_parallel)
            asked.append((source, model, suites))

        # a run of an earlier version may have trained on the programs of its own probes, and none knows a file given here
        task_suites = [each for *_, suites in asked for each in suites if isinstance(each, TaskSuite)]
        brought = any(each.brought for each in task_suites)
        elsewhere, unknown = trained_elsewhere(sources)
        trained = elsewhere | trained_programs({each.run for each in sources if each.run and task_suites})
        picking, luck = picking_runs(sources)
        probes = any(suite.name == "probes" for *_, suites in asked for suite in suites)
        unasked += [*(unknown if brought else ()), *(luck if probes else ())]
        work: list[tuple[EngineModel, list[SuiteRun]]] = []
        for source, model, suites in asked:
            decoding, engine = decoding_of(source, options), engine_options(source, options)
            runs: list[SuiteRun] = []
            for suite in suites:
                items = evenly(suite.items, options.limit)
                _announce(source, suite, items, say)
                opened = open_suite_run(source, suite, items, decoding, engine, out, restart=options.restart)
                known, picked = trained_items(suite, trained), picked_items(suite, picking)
                runs.append(replace(held.enter_context(opened), trained_on=known, picked_on=picked))
            work.append((model, noting_differences(work[0][1], runs) if work else runs))

        if options.partial:
            shared, told = shared_answers([run for _, runs in work for run in runs])
            unasked += told
            results = [_judge_answers(run, options, say) for run in shared]
        else:
            results = _answer_and_judge(work, options, say)
    ordered = [scores for source in sources for scores in results if scores.model == source.label]
    return _report(ordered, out, say, unasked)


def _announce(source: ModelSource, suite: Suite, items: Sequence[Item], say: Callable[[str], None]) -> None:
    for sentence in suite.left_out:
        say(f"{suite.name}: left out {sentence}")
    say(f"{source.label}: {counted(len(items), 'task')} of {suite.name}, {suite.style}")


def _suites(source: ModelSource, spec: str, options: Options, fits: Fits) -> tuple[list[Suite], list[str]]:
    """A suite in each style in which the model is asked; sentences on the others, and on a frame that is a guess."""
    if spec == "probes" and source.probes:
        spec = f"probes={source.probes}"
    config = replace(source.selfplay, frame=options.frame) if options.frame else source.selfplay
    folder = models.tokenizer_folder(source)
    speaker = replace(
        speaker_of(folder, options.native_form, trust_remote_code=source.trust_remote_code),
        prompt_tokens=options.max_prompt_tokens or 0,
        response_tokens=options.max_response_tokens or 0,
    )

    suites: list[Suite] = []
    unasked: list[str] = []
    # a model that no run has to do with is asked in a frame only if one is named
    framed = source.framed or options.frame
    styles = options.styles or [style for style in STYLES if framed or style != "frame"]
    for style in wanted_styles(spec, styles):
        if why := not_asked(style, speaker):
            unasked.append(f"{spec.partition('=')[0]}, {source.label}, {style}: {why}")
        else:
            suites.append(build_suite(spec, config, style=style, speaker=speaker, run=source.run, fits=fits))
            if style == "frame" and not framed:
                unasked.append(
                    f"{suites[-1].name}, {source.label}: asked in the frame {config.frame!r}{', as the run' if source.probes else ''}, "
                    f"since nothing says in which it was trained (an exported model's {EXPORT_RECORD} does); --frame names another"
                )

    if not suites:
        remedy = "; use a frame instead (--frame compact for the bundled tiny model)"
        raise ModelError(f"{unasked[-1]}{'' if 'frame' in styles else remedy}")
    return suites, unasked


def evaluate_suite(
    source: ModelSource,
    suite: Suite,
    out: Path,
    options: Options,
    say: Callable[[str], None],
) -> Scores:
    """Asks one model one suite, and judges."""
    _announce(source, suite, suite.items, say)
    decoding, engine = decoding_of(source, options), engine_options(source, options)
    with (
        engine_model(source) as model,
        open_suite_run(source, suite, suite.items, decoding, engine, out, restart=options.restart) as run,
    ):
        [scores] = _answer_and_judge([(model, [run])], options, say)
    return scores


def _answer_and_judge(
    work: Sequence[tuple[EngineModel, Sequence[SuiteRun]]], options: Options, say: Callable[[str], None]
) -> list[Scores]:
    """All answers first, in as few engines as the models allow; then they are judged, with the card free again."""
    answer_all([(model, runs[0].engine, [run.batch for run in runs]) for model, runs in work if runs], say)
    return [_judge_answers(run, options, say) for _, runs in work for run in runs]


def _judge_answers(run: SuiteRun, options: Options, say: Callable[[str], None]) -> Scores:
    with Sandbox(sandbox_config(run.source.sandbox)) as sandbox:
        judged = judge_all(run.suite, run.items, run.answers(), sandbox)
        doubts = doubts_of_references(run.suite, run.items, sandbox)
    limit = run.decoding.max_prompt_tokens
    scores = score(run.suite, run.source.label, run.items, judged, options.ks, limit)
    scores = without_picking(without_trained(scores, run.trained_on), run.picked_on)
    scores = replace(scores, otherwise=run.otherwise)
    doubts += [run.otherwise] if run.otherwise else []
    return write_scores(run.store.folder, run.settings, scores, doubts, judged, say)


def _report(
    results: Sequence[Scores], out: Path, say: Callable[[str], None], unasked: Sequence[str] = ()
) -> dict[str, Any]:
    lines = [score_table(results), legend(results), *unasked, *notes(results)]
    record: dict[str, Any] = {
        "format": FORMAT,
        "results": [asdict(scores) for scores in results],
        "comparisons": [],
    }
    by_style: dict[tuple[str, str], list[Scores]] = {}
    for scores in results:
        by_style.setdefault((scores.suite, scores.style), []).append(scores)
    for (suite, style), (first, *others) in by_style.items():
        for second in others:
            if not second.otherwise and (comparison := compare_scores(first, second)) is not None:
                names = {"suite": suite, "style": style, "first": first.model, "second": second.model}
                record["comparisons"].append({**names, **asdict(comparison)})

    sentences, record["verdicts"] = verdict_lines(results)
    lines += ["", *sentences] if sentences else []

    summary = "\n".join(lines)
    say(f"\n{summary}\n")
    if kept := publish(out, {"summary.txt": f"{summary}\n", "result.json": json_text(record)}):
        say(kept)
    say(f"wrote {out / 'result.json'} and summary.txt; answers and verdicts of each item are beside them")
    return record


def asked_beside_runs(sources: Sequence[ModelSource]) -> list[ModelSource]:
    """A model that belongs to no run is asked the frozen probes of the first run that it is named beside, and in its
    frame where it has none: scores of other tasks, or of a frame that it does not know, would look like a difference."""
    beside = next((each for each in sources if each.run and each.run.probes.is_dir()), None)
    if beside is None or beside.run is None:
        return list(sources)
    lent = [each if each.run else replace(each, probes=beside.run.probes) for each in sources]
    return [each if each.framed else replace(each, selfplay=beside.selfplay) for each in lent]


def each_once(named: Sequence[ModelSource], say: Callable[[str], None]) -> list[ModelSource]:
    """Without those that are named twice, also as ``best`` and as a step, or by another path: a comparison with itself
    looks like one of two models that are equally good. Different ones that would share a label, and with it the folder of
    their answers, get labels of their own."""
    once: dict[tuple[str, Path | None], ModelSource] = {}
    for source in named:
        place = source.run.root if source.run else source.folder
        key = source.label if source.run else source.identity, place and place.resolve()
        if key in once:
            say(f"{source.label} is named twice, and a model is not compared with itself: it is asked once")
        once.setdefault(key, source)
    roots = list(dict.fromkeys(source.run.root for source in once.values() if source.run))
    names = dict(zip(roots, told_apart(roots), strict=True))
    slugs = [models.slug(source.label) for source in once.values()]
    sources = []
    for source, slug in zip(once.values(), slugs, strict=True):
        if source.run:
            label = f"{names[source.run.root]}@{source.label.rpartition('@')[2]}"
        else:
            label = source.label if slugs.count(slug) == 1 else f"{source.label} ({source.identity[:8]})"
        sources.append(replace(source, label=label))
    return sources
