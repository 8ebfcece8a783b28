"""One evaluation: models x suites -> answers -> verdicts -> results on disk and a table."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from azr.config.selfplay import SelfPlayConfig
from azr.errors import ModelError
from azr.evaluate import engine, models
from azr.evaluate.answers import Answer, AnswerStore, recorded_answers
from azr.evaluate.engine import EngineOptions, prompt_limit
from azr.evaluate.models import ModelSource
from azr.evaluate.results import json_text, publish
from azr.evaluate.scoring import Judged, Scores, compare_scores, judge_all, legend, notes, score, table, verdict_lines
from azr.evaluate.speaker import speaker_of
from azr.evaluate.suites import (
    Item,
    Speaker,
    Suite,
    build_suite,
    evenly,
    everything_fits,
    fingerprint,
    folder_name,
    not_asked,
    sandbox_config,
    styles_of,
    wanted_styles,
)
from azr.files import json_line
from azr.sandbox import Sandbox
from azr.selfplay.episode import Fits

FORMAT = 1


@dataclass(frozen=True)
class Options:
    """What the command line of scripts/evaluate.py says. None and 0 mean: as the model's run has it."""

    suites: Sequence[str]
    out: Path | None = None
    answers: Path | None = None
    """Recorded completions instead of a model's."""
    partial: bool = False
    limit: int = 0
    """At most this many items of each suite, evenly spaced; 0 takes all."""
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
    tensor_parallel: int = 1
    gpu_memory_share: float = 0.85
    cpu_kv_cache_gib: float = 1.0
    max_sequences: int = 256
    trust_remote_code: bool = False
    restart: bool = False
    progress: bool = True


def evaluate(specs: Sequence[str], options: Options, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Evaluates each model on each suite; two models are also compared in pairs.

    Returns:
        what was written to ``result.json`` of the output folder.

    Raises:
        AzrError: a model, suite or file is not usable; the engine or the sandbox failed.
    """
    if options.answers is not None:
        return _report([_judge_recorded(spec, options, say) for spec in options.suites], options.out or Path("evaluations"), say)
    sources = [models.resolve(spec) for spec in specs]
    out = options.out or _default_out(sources)
    results: list[Scores] = []
    unasked: list[str] = []
    for source, spec in itertools.product(sources, options.suites):
        _suites(source, spec, options, unasked)  # slips show before the long work
    for source in sources:
        how = engine_options(source, options)
        with _folder_of(source, out, say) as folder:
            fits = prompt_limit(folder, how.max_prompt_tokens, how.trust_remote_code)
            for suite in itertools.chain.from_iterable(_suites(source, spec, options, [], fits) for spec in options.suites):
                results.append(answer_items(source, folder, suite, evenly(suite.items, options.limit), out, options, say))
    return _report(results, out, say, unasked)


def _suites(source: ModelSource, spec: str, options: Options, unasked: list[str], fits: Fits = everything_fits) -> list[Suite]:
    """A suite in each style in which the model is asked; sentences on the others are appended to ``unasked``."""
    config = replace(source.selfplay, frame=options.frame) if options.frame else source.selfplay
    speaker = speaker_of(models.tokenizer_folder(source), options.native_form, trust_remote_code=source.trust_remote_code)
    suites = []
    for style in wanted_styles(spec, options.styles):
        if why := not_asked(style, speaker):
            unasked.append(f"{spec.partition('=')[0]}, {source.label}, {style}: {why}")
        else:
            suites.append(build_suite(spec, config, style=style, speaker=speaker, run=source.run, fits=fits))
    if not suites:
        raise ModelError(f"{source.label} cannot be asked {spec.partition('=')[0]} in the style {', '.join(options.styles)}: {unasked[-1]}")
    return suites


def answer_items(
    source: ModelSource, folder: Path, suite: Suite, items: Sequence[Item], out: Path, options: Options, say: Callable[[str], None]
) -> Scores:
    for sentence in suite.left_out:
        say(f"{suite.name}: left out {sentence}")
    how = engine_options(source, options)
    # greedy and sampled answers lie side by side, so that asking once more in another way needs no other folder
    name = folder_name(suite) + (f"-t{how.temperature:g}" if how.temperature else "")
    store = AnswerStore(out / models.slug(source.label) / name)
    request = {"model": source.identity, "suite": fingerprint(suite), "format": FORMAT, **how.sampling()}
    request["samples"] = 0  # more samples of the same items extend what is there
    with store.opened(request, restart=options.restart):
        say(f"{source.label}: {len(items)} tasks of {suite.name}, {suite.style}")
        engine.generate(folder, items, how, store, progress=options.progress)
        found = store.read()
        answers = [found[item.item_id, sample] for item in items for sample in range(how.samples)]
        _require_asked(answers, how, config_frame=options.frame)
        with Sandbox(sandbox_config(source.sandbox)) as sandbox:
            judged = judge_all(suite, items, answers, sandbox, progress=options.progress)
        scores = score(suite, source.label, items, judged, options.ks, how.max_prompt_tokens)
        _write(store.folder, asdict(how), scores, judged, say)
    return scores


def _write(folder: Path, settings: dict[str, Any], scores: Scores, judged: Sequence[Judged], say: Callable[[str], None]) -> None:
    """Verdicts and scores of one model on one suite; see ``publish`` for those that are there already."""
    files = {
        "verdicts.jsonl": "".join(json_line(each.to_json()) for each in judged),
        "result.json": json_text({"settings": settings, **scores.to_json()}),
    }
    if kept := publish(folder, files):
        say(kept)


def engine_options(source: ModelSource, options: Options) -> EngineOptions:
    temperature = options.temperature if options.temperature is not None else (0.0 if options.samples == 1 else 1.0)
    if options.samples > 1 and not temperature:
        raise ModelError(f"--samples {options.samples} at temperature 0 would give {options.samples} equal answers; raise --temperature")
    return EngineOptions(
        samples=options.samples,
        temperature=temperature,
        top_p=options.top_p,
        seed=options.seed,
        max_prompt_tokens=options.max_prompt_tokens or source.max_prompt_tokens,
        max_response_tokens=options.max_response_tokens or source.max_response_tokens,
        dtype=options.dtype or source.dtype,
        trust_remote_code=options.trust_remote_code or source.trust_remote_code,
        tensor_parallel=options.tensor_parallel,
        gpu_memory_share=options.gpu_memory_share,
        cpu_kv_cache_gib=options.cpu_kv_cache_gib,
        max_sequences=options.max_sequences,
    )


def _require_asked(answers: Sequence[Answer], how: EngineOptions, config_frame: str | None) -> None:
    """Raises:
    ModelError: no prompt fitted the context, so the score would say nothing.
    """
    if answers and all(answer.prompt_too_long for answer in answers):
        shortest = min(answer.n_tokens for answer in answers)
        raise ModelError(
            f"no prompt fits the limit of {how.max_prompt_tokens} tokens (the shortest has {shortest}); "
            f"raise --max-prompt-tokens, or take the frame that the model was trained with (--frame compact for the bundled tiny model"
            + (f"; now {config_frame})" if config_frame else ")")
        )


def _judge_recorded(spec: str, options: Options, say: Callable[[str], None]) -> Scores:
    assert options.answers is not None
    config = SelfPlayConfig(frame=options.frame) if options.frame else SelfPlayConfig()
    # answers come without their prompts: native ones are read as continuations of plain text, as the reference harness has them
    [style] = options.styles or styles_of(spec)[:1]
    speaker = Speaker(chat=options.native_form == "chat")
    suite = build_suite(spec, config, style=style, speaker=speaker)
    items = evenly(suite.items, options.limit)
    for sentence in suite.left_out:
        say(f"{suite.name}: left out {sentence}")
    answers = recorded_answers(options.answers, items, partial=options.partial)
    with Sandbox(sandbox_config()) as sandbox:
        judged = judge_all(suite, items, answers.values(), sandbox, progress=options.progress)
    scores = score(suite, options.answers.stem, items, judged, options.ks)
    folder = (options.out or Path("evaluations")) / models.slug(options.answers.stem) / folder_name(suite)
    _write(folder, {"recorded": str(options.answers)}, scores, judged, say)
    return scores


def _report(results: Sequence[Scores], out: Path, say: Callable[[str], None], unasked: Sequence[str] = ()) -> dict[str, Any]:
    lines = [table(results), legend(results), *unasked, *notes(results)]
    record: dict[str, Any] = {"format": FORMAT, "results": [scores.to_json() for scores in results], "comparisons": []}
    by_style: dict[tuple[str, str], list[Scores]] = {}
    for scores in results:
        by_style.setdefault((scores.suite, scores.style), []).append(scores)
    for (suite, style), (first, *others) in by_style.items():
        for second in others:
            if (comparison := compare_scores(first, second)) is not None:
                names = {"suite": suite, "style": style, "first": first.model, "second": second.model}
                record["comparisons"].append({**names, **asdict(comparison)})
    sentences, record["verdicts"] = verdict_lines(results)
    lines += ["", *sentences] if sentences else []
    summary = "\n".join(lines)
    say(f"\n{summary}\n")
    if kept := publish(out, {"summary.txt": f"{summary}\n", "result.json": json_text(record)}):
        say(kept)
    say(f"wrote {out / 'result.json'} and summary.txt; answers and verdicts of each item lie beside them")
    return record


def _default_out(sources: Sequence[ModelSource]) -> Path:
    run = sources[0].run
    return run.root / "evaluations" if run else Path("evaluations")


@contextlib.contextmanager
def _folder_of(source: ModelSource, out: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """The model as a Hugging Face folder; a checkpoint is merged into one beside the results, which is removed afterwards."""
    if source.folder is not None:
        yield source.folder
        return
    from azr.evaluate.weights import write_model_folder

    assert source.checkpoint is not None
    target = out / f".model-{models.slug(source.label)}-{source.identity}"
    shutil.rmtree(target, ignore_errors=True)
    say(f"{source.label}: merging the checkpoint into a model folder")
    write_model_folder(source.checkpoint, target, trust_remote_code=source.trust_remote_code)
    try:
        yield target
    finally:
        shutil.rmtree(target, ignore_errors=True)
