"""Answers from vLLM, in a process of its own that models of the same shape share, so that it starts only once for them.

    from azr.evaluate.engine import Batch, EngineModel, EngineOptions, answer_all
    answer_all([(model, [Batch(requests, store), ...]), ...], EngineOptions())

Models of one shape (architecture, vocabulary, number type) are loaded into the running engine one after the
other; for another shape another engine is started. Every answer is kept as soon as it is finished: Ctrl+C, a
crash or a power cut cost what was being written. Sampling is seeded by item and sample, so that an evaluation
that is resumed draws what it would have drawn.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from azr.config.paths import PROJECT, python_path
from azr.errors import ModelError
from azr.evaluate.answers import AnswerStore
from azr.evaluate.engine_requests import Batch, EngineJob, EngineModel, EngineOptions
from azr.evaluate.gpu_lock import hold_cards
from azr.evaluate.progress import ProgressLine, Tally
from azr.report.text import duration
from azr.run.records import to_json
from azr.system.files import read_tail, write_json_atomic
from azr.system.hardware import detect, device_for
from azr.system.hashes import text_hash
from azr.system.scratch import scratch_folder
from azr.tasks import Prompt
from azr.train.engine_start import why_no_engine
from azr.train.tokens import PromptTokens, load_tokenizer

QUIET_LIMIT_S = 1800.0
"""Without any news for this long the engine counts as hung; its start on a slow disk takes minutes."""
END_GRACE_S = 15.0
POLL_S = 0.25
COSMETIC_KEYS = (
    "_name_or_path", "attn_implementation", "bos_token_id", "dtype", "eos_token_id", "pad_token_id", "tokenizer_class",
    "torch_dtype", "transformers_version", "use_cache",
)  # fmt: skip
"""Of a model's configuration: what may differ between models that share an engine."""
STAGES = {
    "start": "the engine starts",
    "compile": "the engine is compiling and warming up",
    "load": "weights are being loaded and checked",
    "answer": "answers",
}


def answer_all(
    work: Sequence[tuple[EngineModel, EngineOptions, Sequence[Batch]]], say: Callable[[str], None] = print
) -> None:
    """Fills the stores with the answers that they lack. Returns when all are there.

    What the engine and its libraries say goes to ``engine.log`` beside the first answers it gives; a failure
    quotes its end.

    A second evaluation on the same card waits for the first to end.

    Raises:
        ModelError: an engine failed or hung, or a model cannot be loaded; the answers so far are kept.
        EngineError: another evaluation had the card for many hours.
    """
    jobs = _jobs(work)
    for number, job in enumerate(jobs):
        if number:
            names = ", ".join(model.label for model, _ in job.models)
            say(f"{names}: has another shape than {jobs[0].models[0][0].label}, so another engine is started")
        device = device_for(detect(), job.engine.device, job.engine.tensor_parallel)
        cards = [card.uuid or card.name for card in device.cards]
        with hold_cards(cards, say=say), scratch_folder("engine") as scratch:
            file = scratch / "job.json"
            write_json_atomic(file, to_json(job))
            log = job.models[0][1][0].store.folder / "engine.log"
            status, reason = _run_child(file, job, log, ProgressLine())
        left = (batch.unanswered() for _, batches in job.models for batch in batches)
        missing = sum(len(request.missing) for batch in left for request in batch.requests)
        if reason:
            raise ModelError(reason)
        if status or missing:
            lines = [line for line in read_tail(log) if line.strip()]
            said = "\n".join(lines[-15:])
            known = why_no_engine(
                "\n".join(lines), share="--gpu-memory-share", answers="--max-response-tokens"
            )
            told = known or "if it says out of memory, lower --gpu-memory-share or --max-sequences"
            raise ModelError(
                f"the engine ended with {_status(status)} and {missing} answers missing: {told}. The answers so far are kept; the same "
                f"command continues. The end of what the engine said ({log}):\n{said}"
            )


def _status(status: int) -> str:
    if status == -signal.SIGKILL:
        return "signal 9 (killed, mostly by the kernel when main memory is full: close other programs; free -h shows it)"
    return f"status {status}"


def _jobs(work: Sequence[tuple[EngineModel, EngineOptions, Sequence[Batch]]]) -> list[EngineJob]:
    """One an engine; models with nothing left to ask are in none."""
    jobs: dict[str, EngineJob] = {}
    for model, options, batches in work:
        # the engine's process works in another folder
        absolute = (replace(batch, store=AnswerStore(batch.store.folder.resolve())) for batch in batches)
        asked = [left for batch in absolute if (left := batch.unanswered()).requests]
        if asked:
            job = jobs.setdefault(shape(model.folder, options), EngineJob(options, []))
            job.models.append((model, asked))
    return list(jobs.values())


def shape(folder: Path, options: EngineOptions) -> str:
    """Equal for models that one engine can hold in turn: the same configuration, vocabulary and engine options.

    A quantised model shares its engine with no other folder's.

    Raises:
        ModelError: the folder's configuration or tokenizer cannot be read.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, trust_remote_code=options.trust_remote_code, local_files_only=True
        ).to_dict()
        tokenizer = load_tokenizer(folder, options.trust_remote_code)
    except ImportError:
        raise
    except Exception as error:  # of a field with another kind of value, whatever reading it raises
        what = f"{type(error).__name__}: {error}"
        raise ModelError(
            f"{folder} is not a model that can be evaluated ({what}); check its config.json"
        ) from error
    described = {key: value for key, value in config.items() if key not in COSMETIC_KEYS}
    described["vocabulary"] = sorted(tokenizer.get_vocab().items())
    described["engine"] = asdict(options)
    if "quantization_config" in config:
        described["folder"] = str(folder.resolve())
    return text_hash(json.dumps(described, sort_keys=True, default=str))


def prompt_limit(
    folder: Path, max_prompt_tokens: int, trust_remote_code: bool = False
) -> Callable[[Prompt], bool]:
    """Whether a prompt has at most ``max_prompt_tokens`` tokens, counted as the engine counts them. The
    tokenizer is loaded at the first question."""

    @functools.cache
    def tokens() -> PromptTokens:
        return PromptTokens(load_tokenizer(folder, trust_remote_code), max_prompt_tokens)

    return lambda prompt: tokens().fits(prompt)


def _run_child(file: Path, job: EngineJob, log: Path, line: ProgressLine) -> tuple[int, str]:
    """Runs the engine process and waits for its end; ends it, and all that it started, when anything goes wrong here.

    Returns:
        its exit status, and why it gave up if it said so.
    """
    ours, theirs = os.pipe()
    watch = _EngineWatch(job, line)
    command = [sys.executable, "-m", "azr.evaluate.engine_process", str(file), str(theirs)]
    with contextlib.ExitStack() as held:
        held.callback(os.close, ours)
        try:
            with open(log, "wb") as said:
                process = subprocess.Popen(
                    command,
                    cwd=PROJECT,
                    env={**os.environ, "PYTHONPATH": python_path()},
                    start_new_session=True,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs,),
                )
        finally:
            os.close(theirs)
        held.callback(_end_group, process)
        held.callback(line.clear)
        status = watch.follow(process, ours)
        watch.show(last=status == 0)
        return status, watch.reason


class _EngineWatch:
    """Reads the engine process's events, and shows where it stands."""

    def __init__(self, job: EngineJob, line: ProgressLine) -> None:
        self._job, self._line = job, line
        wanted = sum(len(each.missing) for each in job.requests)
        most_tokens = sum(each.decoding.max_response_tokens * len(each.missing) for each in job.requests)
        self._tally = Tally(wanted, most_tokens=most_tokens)
        self._stage, self._model, self._since_s = "start", 0, time.monotonic()
        self._torn = b""
        self.reason = ""

    def follow(self, process: subprocess.Popen[bytes], pipe: int) -> int:
        """Until the process ends.

        Raises:
            ModelError: it hung.
        """
        heard_s = time.monotonic()
        while True:
            if select.select([pipe], [], [], POLL_S)[0]:
                data = os.read(pipe, 1 << 16)
                if not data:  # closed: the process is at its end
                    break
                heard_s = time.monotonic()
                self._read(data)
            elif process.poll() is not None:
                break
            if time.monotonic() - heard_s > QUIET_LIMIT_S:
                raise ModelError(
                    f"the engine gave no sign of life for {QUIET_LIMIT_S / 60:.0f} minutes ({STAGES[self._stage]}); it was ended. The "
                    "answers so far are kept"
                )
            self.show()
        try:
            return process.wait(timeout=END_GRACE_S)
        except subprocess.TimeoutExpired:
            return 0  # hangs while it ends; whether all answers are there is looked at afterwards

    def _read(self, data: bytes) -> None:
        *lines, self._torn = (self._torn + data).split(b"\n")
        for text in lines:
            event = json.loads(text)
            if "model" in event:
                self._model = event["model"]
            if "stage" in event and event["stage"] != self._stage:
                self._stage, self._since_s = event["stage"], time.monotonic()
                self._tally.paused()
            self._tally.wanted -= event.get("not_asked", 0)
            if "tokens" in event:
                self._tally.done, self._tally.done_tokens = event["answers"], event["finished_tokens"]
                self._tally.note(time.monotonic(), event["tokens"])
            self.reason = event.get("failed", self.reason)

    def show(self, *, last: bool = False) -> None:
        models = self._job.models
        label = models[min(self._model, len(models) - 1)][0].label
        place = f" (model {self._model + 1} of {len(models)})" if len(models) > 1 else ""
        if self._stage == "answer":
            words = self._tally.words()
        else:
            words = f"{STAGES[self._stage]}, {duration(time.monotonic() - self._since_s)}"
        self._line.show(f"{label}{place}: {words}", last=last)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the engine's process group: SIGTERM, a grace, SIGKILL. vLLM's own processes are in the same group."""
    for number, wait_s in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, END_GRACE_S)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait_s)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_GRACE_S)
