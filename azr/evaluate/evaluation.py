"""One evaluation: models x suites -> answers -> verdicts -> results on disk and a table."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ConfigError, ModelError
from azr.evaluate import models, scoring
from azr.evaluate.code_suite import CodeSuite, of_whole_programs
from azr.evaluate.doubts import (
    doubts_of_answers,
    doubts_of_references,
    picked_items,
    trained_elsewhere,
    trained_items,
    trained_programs,
)
from azr.evaluate.engine import answer_all, prompt_limit
from azr.evaluate.engine_requests import Decoding, EngineModel, EngineOptions
from azr.evaluate.items import Item, Speaker, Suite, evenly, folder_name
from azr.evaluate.models import ModelSource
from azr.evaluate.number_type import number_type
from azr.evaluate.recorded import recorded_answers
from azr.evaluate.results import publish
from azr.evaluate.scoring import (
    Judged,
    Scores,
    compare_scores,
    judge_all,
    score,
    verdict_lines,
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
from azr.evaluate.suites import STYLES, build_suite, not_asked, sandbox_config, styles_of, wanted_styles
from azr.evaluate.tasks_suite import TaskSuite
from azr.models.exported import EXPORT_RECORD
from azr.run.checkpoints import reading
from azr.run.rundir import told_apart
from azr.sandbox import Sandbox
from azr.selfplay.episode import Fits
from azr.system.files import json_line, json_text
from azr.system.hardware import cpu_flags, detect, device_for
from azr.system.imports import DEVICE_NAMES, engine_build, require_engine
from azr.wording import counted


@dataclass(frozen=True)
class Options:
    """What the command line of scripts/evaluate.py says. None and 0 mean: as the model's run has it."""

    suites: Sequence[str]
    out: Path | None = None
    answers: Path | None = None
    """Recorded completions instead of a model's."""
    partial: bool = False
    """Nothing is asked: what has been answered so far is judged."""
    limit: int = 0
    """At most this many items of each suite, of each kind its share (``azr.evaluate.items.evenly``); 0 takes all."""
    frame: str | None = None
    styles: Sequence[str] = ()
    """Of ``azr.evaluate.suites.STYLES``; empty: every style that a suite has."""
    native_form: str = "auto"
    """Of ``azr.evaluate.speaker.FORMS``: how a model is asked in its native style."""
    samples: int = 1
    ks: Sequence[int] = (1,)
    temperature: float | None = None
    """None: greedy for one sample, 1.0 for several."""
    top_p: float = 1.0
    seed: int = 0
    max_prompt_tokens: int | None = None
    max_response_tokens: int | None = None
    dtype: str | None = None
    device: str | None = None
    tensor_parallel: int = 1
    gpu_memory_share: float = 0.85
    cpu_kv_cache_gib: float = 1.0
    max_sequences: int = 256
    trust_remote_code: bool = False
    restart: bool = False


def evaluate(specs: Sequence[str], options: Options, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Evaluates each model on each suite; two models are also compared in pairs.

    Returns:
        what was written to ``result.json`` of the output folder.

    Raises:
        AzrError: a model, suite or file is not usable; the engine or the sandbox failed.
    """
    options = _checked(options)
    if options.answers is not None:
        recorded = [_judge_recorded(spec, options, say) for spec in options.suites]
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
            longest = decoding_of(source, options).max_prompt_tokens
            fits = prompt_limit(model.folder, longest, source.trust_remote_code)
            found = [_suites(source, spec, options, fits) for spec in options.suites]
            unasked += [told for _, sentences in found for told in sentences]
            asked.append((source, model, [suite for suites, _ in found for suite in suites]))

        # a run keeps its own probes out of what it trains on, but knows nothing of a file that is given here
        brought = any(isinstance(each, TaskSuite) and each.brought for *_, suites in asked for each in suites)
        elsewhere, unknown = trained_elsewhere(sources)
        trained = elsewhere | trained_programs({each.run for each in sources if each.run and brought})
        unasked += unknown if brought else []
        work: list[tuple[EngineModel, list[SuiteRun]]] = []
        for source, model, suites in asked:
            decoding, engine = decoding_of(source, options), engine_options(source, options)
            runs: list[SuiteRun] = []
            for suite in suites:
                items = evenly(suite.items, options.limit)
                _announce(source, suite, items, say)
                opened = open_suite_run(source, suite, items, decoding, engine, out, restart=options.restart)
                known, picked = trained_items(suite, trained), picked_items(suite, sources)
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


def _checked(options: Options) -> Options:
    """The options with each suite once.

    Raises:
        ConfigError: they contradict each other.
    """
    too_many = [k for k in options.ks if k > options.samples and k > 1]
    if too_many and options.answers is None:
        raise ConfigError(
            f"--k {too_many[0]} is the share of items of which one of {too_many[0]} answers is right; it needs --samples {max(too_many)}"
        )
    if options.partial and options.restart:
        raise ConfigError("--restart discards the answers that --partial is to judge; give one of the two")
    if options.out is not None and options.out.exists() and not options.out.is_dir():
        raise ConfigError(f"--out {options.out} is a file; name a folder, in which several files are written")
    return replace(options, suites=_each_name_once(options.suites))


def _each_name_once(specs: Sequence[str]) -> list[str]:
    """Raises: ConfigError: a name is unknown, or two suites have one; their scores would be compared like those of two
    models."""
    once: dict[str, str] = {}
    for spec in specs:
        styles_of(spec)  # an unknown one shows before the models are read
        name = spec.partition("=")[0]
        if once.setdefault(name, spec) != spec:
            raise ConfigError(
                f"--suite {once[name]} and --suite {spec} are both called {name}; give each a command, and an --out, of its own"
            )
    return list(once.values())


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
    return _write_scores(run.store.folder, run.settings, scores, doubts, judged, say)


def _write_scores(
    folder: Path,
    settings: dict[str, Any],
    scores: Scores,
    doubts: Sequence[str],
    judged: Sequence[Judged],
    say: Callable[[str], None],
) -> Scores:
    """Verdicts and scores of one model on one suite, with what makes them doubtful, on the disk (``publish``)."""
    scores = replace(scores, notes=[*scores.notes, *doubts])
    files = {
        "verdicts.jsonl": "".join(json_line(each.to_json()) for each in judged),
        "result.json": json_text({"settings": settings, **asdict(scores)}),
    }
    if kept := publish(folder, files):
        say(kept)
    return scores


def decoding_of(source: ModelSource, options: Options) -> Decoding:
    """
    Raises:
        ModelError: several greedy answers are requested, which would be equal.
    """
    usual = 0.0 if options.samples == 1 else 1.0
    temperature = usual if options.temperature is None else options.temperature
    if options.samples > 1 and not temperature:
        raise ModelError(
            f"--samples {options.samples} at temperature 0 would give {options.samples} equal answers; raise --temperature"
        )
    return Decoding(
        samples=options.samples,
        temperature=temperature,
        top_p=options.top_p,
        seed=options.seed,
        max_prompt_tokens=options.max_prompt_tokens or source.max_prompt_tokens,
        max_response_tokens=options.max_response_tokens or source.max_response_tokens,
    )


def engine_options(source: ModelSource, options: Options) -> EngineOptions:
    """
    Raises:
        ModelError: the engine that is installed cannot compute where the model is to be asked, or the cards
            are not there.
        ConfigError: this machine lacks what the engine needs.
    """
    machine = detect()
    device = device_for(machine, _device(options.device or source.device), options.tensor_parallel)
    if device.missing:
        raise ModelError(
            f"{device.count} cards are requested (--tensor-parallel), but {len(device.cards)} can be used: {machine.why_no_card}"
        )
    require_engine(device.kind)
    return EngineOptions(
        dtype=options.dtype or number_type(source.dtype, replace(machine, gpus=device.cards), cpu_flags()),
        device=device.kind,
        trust_remote_code=source.trust_remote_code,
        tensor_parallel=options.tensor_parallel,
        gpu_memory_share=options.gpu_memory_share,
        cpu_kv_cache_gib=options.cpu_kv_cache_gib,
        max_sequences=options.max_sequences,
    )


def _device(wanted: str) -> str:
    """Where the engine runs: its build decides where nothing else does."""
    build = engine_build()
    if build and wanted not in ("auto", build):
        raise ModelError(
            f"the installed engine supports only {DEVICE_NAMES[build]}, but this model would run on {DEVICE_NAMES[wanted]} "
            f"(from its run, or from --device); use --device {build}"
        )
    return build or wanted


def _judge_recorded(spec: str, options: Options, say: Callable[[str], None]) -> Scores:
    assert options.answers is not None
    config = SelfPlayConfig(frame=options.frame) if options.frame else SelfPlayConfig()
    # answers come without their prompts: native ones are read as continuations of plain text, as the
    # reference harness has them
    if len(options.styles) > 1:
        raise ConfigError("--answers reads answers in one style; give --style once")
    [style] = options.styles or styles_of(spec)[:1]
    speaker = Speaker(chat=options.native_form == "chat")
    suite = build_suite(spec, config, style=style, speaker=speaker)
    items = evenly(suite.items, options.limit)
    for sentence in suite.left_out:
        say(f"{suite.name}: left out {sentence}")
    unasked = {item.item_id for item in suite.items} - {item.item_id for item in items}
    recorded = recorded_answers(options.answers, items, partial=options.partial, left_out=unasked)
    _require_samples(options, recorded.answers)
    if recorded.whole_programs:
        if not isinstance(suite, CodeSuite) or style == "frame" or options.native_form == "chat":
            raise ConfigError(
                f"{options.answers}: its answers are whole programs (field 'solution'), which run as they are, without "
                "--style frame or --native-form chat; replies that are to be read belong into the field 'completion'"
            )
        suite = of_whole_programs(suite)
        say(f"{options.answers}: whole programs (field 'solution'), judged as they are")
    answers = recorded.answers
    with Sandbox(sandbox_config()) as sandbox:
        judged = judge_all(suite, items, answers.values(), sandbox)
        doubts = [*recorded.notes, *doubts_of_references(suite, items, sandbox)]
    scores = score(suite, options.answers.stem, items, judged, options.ks)
    scores = scores if recorded.ends else replace(scores, cut=None)
    if style == "native" and options.native_form != "chat":
        doubts += doubts_of_answers(suite, judged)
    folder = (options.out or Path("evaluations")) / models.slug(options.answers.stem) / folder_name(suite)
    return _write_scores(folder, {"recorded": str(options.answers)}, scores, doubts, judged, say)


def _require_samples(options: Options, answers: Iterable[tuple[str, int]]) -> None:
    """Raises: ConfigError: pass@k is asked for, and an item has fewer than k answers."""
    counts = Counter(item_id for item_id, _ in answers)
    item_id, fewest = min(counts.items(), key=lambda each: each[1])
    if (most := max(options.ks)) > max(fewest, 1):
        raise ConfigError(
            f"--k {most} is the share of items of which one of {most} answers is right; {options.answers} has only {fewest} of {item_id!r}"
        )


def _report(
    results: Sequence[Scores], out: Path, say: Callable[[str], None], unasked: Sequence[str] = ()
) -> dict[str, Any]:
    lines = [scoring.score_table(results), scoring.legend(results), *unasked, *scoring.notes(results)]
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
