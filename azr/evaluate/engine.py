"""Answers from vLLM, in a process of its own: when it ends, the card is free again for the next model.

    python -m azr.evaluate.engine JOB.json     (started by ``generate``)

Every finished chunk is appended to ``answers.jsonl``; a crash or Ctrl+C loses one chunk. Sampling is seeded by item and sample,
so that an evaluation that goes on draws what it would have drawn.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from azr.errors import ModelError
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.requests import sample_seed
from azr.evaluate.suites import Item
from azr.files import append_jsonl, read_json, write_json_atomic
from azr.tasks import Prompt

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CPU_BATCHED_TOKENS = 4096
"""Tokens read at once without a GPU; never fewer than one whole prompt."""
CHUNK_ANSWERS = 256
STALL_S = 1800.0
"""Without a new answer for this long the engine counts as hung; its start on a slow disk takes minutes."""
END_GRACE_S = 15.0
PARENT_POLL_S = 2.0


@dataclass(frozen=True)
class EngineOptions:
    """How the engine is built and how it samples."""

    samples: int = 1
    temperature: float = 0.0
    """0: greedy."""
    top_p: float = 1.0
    seed: int = 0
    max_prompt_tokens: int = 2048
    max_response_tokens: int = 1024
    dtype: str = "bfloat16"
    trust_remote_code: bool = False
    tensor_parallel: int = 1
    gpu_memory_share: float = 0.85
    cpu_kv_cache_gib: float = 1.0
    max_sequences: int = 256

    def sampling(self) -> dict[str, Any]:
        """What decides the answers; the rest only decides how fast they come."""
        names = ("samples", "temperature", "top_p", "seed", "max_prompt_tokens", "max_response_tokens", "dtype")
        return {name: getattr(self, name) for name in names}


def generate(folder: Path, items: Sequence[Item], options: EngineOptions, store: AnswerStore, *, progress: bool = True) -> None:
    """Fills ``store`` with the answers that it lacks. Returns when all are there.

    What the engine and its libraries say goes to ``engine.log`` beside the answers; a failure quotes its end.

    Raises:
        ModelError: the engine failed or hung; the answers so far are kept.
    """
    have = store.read()
    wanted = [(item, sample) for item in items for sample in range(options.samples) if (item.item_id, sample) not in have]
    if not wanted:
        return
    job = {
        "model": str(folder),
        "answers": str(store.path.resolve()),
        "options": asdict(options),
        "questions": [
            {
                "id": item.item_id,
                "sample": sample,
                "messages": [list(message) for message in item.prompt.messages],
                "raw": item.prompt.raw,
                "response_prefix": item.prompt.response_prefix,
                "stop": list(item.stop),
            }
            for item, sample in wanted
        ],
    }
    path, log = store.folder / "engine.json", store.folder / "engine.log"
    write_json_atomic(path, job)
    total = len(items) * options.samples
    try:
        with tqdm(total=total, initial=total - len(wanted), desc="engine starts", unit="answer", disable=not progress) as bar:
            status = _run_child(path.resolve(), store.path, log, bar)
    finally:
        path.unlink(missing_ok=True)
    missing = len(wanted) - sum((item.item_id, sample) in store.read() for item, sample in wanted)
    if status != 0 or missing:
        raise ModelError(
            f"the engine ended with status {status} and {missing} of {len(wanted)} answers missing. The answers so far are kept: the same "
            "command goes on. If it says out of memory: lower --gpu-memory-share or --max-sequences. The end of what the engine said "
            f"({log}):\n{_tail(log)}"
        )


def prompt_limit(folder: Path, max_prompt_tokens: int, trust_remote_code: bool = False) -> Callable[[Prompt], bool]:
    """Whether a prompt has at most ``max_prompt_tokens`` tokens, counted as the engine counts them. The tokenizer is loaded at the
    first question."""
    tokenizer: Any = None

    def fits(prompt: Prompt) -> bool:
        nonlocal tokenizer
        from transformers import AutoTokenizer

        from azr.train.tokens import prompt_token_ids

        if tokenizer is None:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
        return len(prompt_token_ids(tokenizer, prompt)) <= max_prompt_tokens

    return fits


def _tail(log: Path, lines: int = 15) -> str:
    with contextlib.suppress(OSError):
        text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
        return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
    return ""


def _run_child(job: Path, answers: Path, log: Path, bar: tqdm[Any]) -> int:
    """Runs the engine process and waits for its end; ends it, and all that it started, when anything goes wrong here."""
    environment = dict(os.environ)
    paths = [str(PROJECT_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    command = [sys.executable, "-m", "azr.evaluate.engine", str(job)]
    with open(log, "wb") as file:
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=file, stderr=subprocess.STDOUT)
    try:
        grown_s, size = time.monotonic(), _size(answers)
        while True:
            status = None
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=1)
            now = _size(answers)
            if now != size:
                bar.set_description("answer", refresh=False)
                bar.update(_lines_between(answers, size, now))
                grown_s, size = time.monotonic(), now
            if status is not None:
                return status
            if time.monotonic() - grown_s > STALL_S:
                raise ModelError(f"the engine gave no answer for {STALL_S / 60:.0f} minutes; it was ended. The answers so far are kept")
    finally:
        _end_group(process)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _lines_between(path: Path, start: int, end: int) -> int:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(max(0, end - start)).count(b"\n")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the engine's process group: SIGTERM, a grace, SIGKILL. The engine core is a grandchild in the same group."""
    for number, wait_s in ((signal.SIGTERM, END_GRACE_S), (signal.SIGKILL, END_GRACE_S)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait_s)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_GRACE_S)


def set_environment(on_gpu: bool, cpu_kv_cache_gib: float) -> None:
    """What vLLM reads from the environment; what the user set stays."""
    defaults = {
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_USE_FLASHINFER_SAMPLER": "0",  # its JIT needs nvcc, which a user need not have
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # this process is the engine's own already
    }
    if not on_gpu:
        defaults |= {"VLLM_CPU_KVCACHE_SPACE": str(max(1, round(cpu_kv_cache_gib))), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        defaults["TORCHDYNAMO_DISABLE"] = "1"  # as in training: vLLM would compile its samplers while it warms up
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m azr.evaluate.engine JOB.json   (scripts/evaluate.py starts this)", file=sys.stderr)
        return 2
    from azr.hardware import detect

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    job = read_json(Path(arguments[0]))
    options = EngineOptions(**job["options"])
    on_gpu = bool(detect().gpus)
    set_environment(on_gpu, options.cpu_kv_cache_gib)
    _answer(job, options, on_gpu)
    return 0


def _end_with_parent(parent: int) -> None:
    """Ends this process and what it started when the process that waits for it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _answer(job: dict[str, Any], options: EngineOptions, on_gpu: bool) -> None:
    from transformers import AutoTokenizer

    from azr.train.tokens import prompt_token_ids

    tokenizer: Any = AutoTokenizer.from_pretrained(job["model"], trust_remote_code=options.trust_remote_code, local_files_only=True)
    answers = Path(job["answers"])
    asked: list[tuple[dict[str, Any], list[int]]] = []
    too_long = []
    for question in job["questions"]:
        messages = tuple((role, content) for role, content in question["messages"])
        ids = prompt_token_ids(tokenizer, Prompt(messages, question["raw"], question["response_prefix"]))
        if len(ids) > options.max_prompt_tokens:
            too_long.append(Answer(question["id"], question["sample"], "", len(ids), True, prompt_too_long=True).to_json())
        else:
            asked.append((question, ids))
    append_jsonl(answers, too_long)
    if asked:
        _ask(job["model"], asked, options, on_gpu, answers, tokenizer)


def _ask(
    model: str, asked: list[tuple[dict[str, Any], list[int]]], options: EngineOptions, on_gpu: bool, answers: Path, tokenizer: Any
) -> None:
    from vllm import LLM, SamplingParams  # takes seconds, so only when there is something to ask

    settings: dict[str, Any] = {
        "model": model,
        "dtype": options.dtype,
        "max_model_len": options.max_prompt_tokens + options.max_response_tokens,
        "max_num_seqs": options.max_sequences,
        "tensor_parallel_size": options.tensor_parallel,
        "trust_remote_code": options.trust_remote_code,
        "enable_prefix_caching": True,
        "seed": options.seed,
    }
    if on_gpu:
        settings["gpu_memory_utilization"] = options.gpu_memory_share
    else:
        # A prompt read in pieces takes back a sample of its seeded generator; torch's CPU generator cannot (vLLM 0.24 then dies).
        whole = max(CPU_BATCHED_TOKENS, settings["max_model_len"])
        settings |= {"enforce_eager": True, "enable_chunked_prefill": False, "max_num_batched_tokens": whole}
    engine = LLM(**settings)
    for start in range(0, len(asked), CHUNK_ANSWERS):
        chunk = asked[start : start + CHUNK_ANSWERS]
        prompts: Any = [{"prompt_token_ids": ids} for _, ids in chunk]
        params = [
            SamplingParams(
                temperature=options.temperature,
                top_p=options.top_p,
                max_tokens=options.max_response_tokens,
                seed=sample_seed(options.seed, question["id"], question["sample"]) if options.temperature else None,
                stop=question["stop"] or None,
            )
            for question, _ in chunk
        ]
        outputs = engine.generate(prompts, params, use_tqdm=False)
        records = []
        for (question, _), output in zip(chunk, outputs, strict=True):
            best = output.outputs[0]
            # stops cut the text inside a token; without them the text is decoded as the trainer decodes it
            text = best.text if question["stop"] else tokenizer.decode(list(best.token_ids), skip_special_tokens=True)
            finished = best.finish_reason != "length"
            records.append(Answer(question["id"], question["sample"], text, len(best.token_ids), finished).to_json())
        append_jsonl(answers, records)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
