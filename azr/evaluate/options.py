"""How models are to be asked: the options of one evaluation, checked, and what follows from them for the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from azr.errors import ConfigError, ModelError
from azr.evaluate.engine_requests import Decoding, EngineModel, EngineOptions
from azr.evaluate.items import Suite
from azr.evaluate.models import ModelSource
from azr.evaluate.suites import styles_of
from azr.models.context import engine_context_tokens
from azr.system.boards import BF16_CAPABILITY
from azr.system.files import read_json
from azr.system.hardware import Machine, cpu_flags, detect, device_for
from azr.system.imports import DEVICE_NAMES, engine_build, require_engine

BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As /proc/cpuinfo names them: x86 vectors, x86 tiles, Arm."""


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


def checked(options: Options) -> Options:
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


def require_engine_fits(model: EngineModel, decoding: Decoding, suites: Iterable[Suite], cards: int) -> None:
    """
    Raises:
        ModelError: prompt and answer are longer than the model's context (native ones are made to fit), or its attention
            heads cannot be spread over so many cards.
    """
    values = read_json(model.folder / "config.json")
    limit = engine_context_tokens(values)
    prompt, answer = decoding.max_prompt_tokens, decoding.max_response_tokens
    if limit and prompt + answer > limit and any(suite.style == "frame" for suite in suites):
        shorter = max(1, limit * prompt // (prompt + answer))
        raise ModelError(
            f"{model.label}: its context is {limit} tokens, and it is to be asked with prompts of {prompt} and answers of {answer}; "
            f"for example: --max-prompt-tokens {shorter} --max-response-tokens {limit - shorter}"
        )
    heads = values.get("num_attention_heads")
    if isinstance(heads, int) and heads % cards:
        raise ModelError(
            f"{model.label} has {heads} attention heads, which --tensor-parallel {cards} does not divide"
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


def number_type(wanted: str, machine: Machine, flags: frozenset[str]) -> str:
    """The type to evaluate in, where ``wanted`` is the one that the model's run or the default asks for: emulated, bfloat16
    is many times slower.

    Float32 is kept everywhere. The half types become float32 on a processor that lacks them, and float16 on a
    card before sm_80.
    """
    if wanted == "float32":
        return wanted
    if not machine.gpus:
        return "bfloat16" if wanted == "bfloat16" and flags & BF16_CPU_FLAGS else "float32"
    capabilities = [gpu.compute_capability for gpu in machine.gpus]
    return "float16" if any(each and each < BF16_CAPABILITY for each in capabilities) else wanted


def _device(wanted: str) -> str:
    """Where the engine runs: its build decides where nothing else does."""
    build = engine_build()
    if build and wanted not in ("auto", build):
        raise ModelError(
            f"the installed engine supports only {DEVICE_NAMES[build]}, but this model would run on {DEVICE_NAMES[wanted]} "
            f"(from its run, or from --device); use --device {build}"
        )
    return build or wanted
