"""vLLM as an evaluation uses it: started once, then given one model after the other, each checked before it answers."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from azr.errors import ModelError
from azr.evaluate.answers import Answer, AnswerStore
from azr.evaluate.engine_requests import EngineJob, EngineModel, Request
from azr.system.files import file_hash, read_json
from azr.system.hashes import sampling_seed
from azr.train.tokens import end_token_ids, load_tokenizer, prompt_token_ids, response_text

CPU_BATCHED_TOKENS = 4096
"""Tokens read at once without a GPU; never fewer than one whole prompt."""
REPORT_EVERY_S = 0.5
SYNC_EVERY_S = 2.0
"""What a power cut may cost of the answers."""
CHECK_TEXT = """\
def f(numbers):
    total = 0
    for number in numbers:
        total += number * 3 - 1
    return total

assert f([2, 5]) == """
CHECK_TOKENS = 64
CHECK_TOLERANCE = 1e-3
"""Log-probs that the same weights, loaded a second time, may differ by."""

SendEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Pending:
    """An answer that is wanted."""

    request: Request
    sample: int
    prompt_ids: Sequence[int]
    store: AnswerStore


class ModelText:
    """One model's tokenizer, and the tokens at which the model ends."""

    def __init__(self, folder: Path, trust_remote_code: bool) -> None:
        self._tokenizer = load_tokenizer(folder, trust_remote_code)
        self.end_ids = sorted(end_token_ids(self._tokenizer, folder))

    def prompt_ids(self, request: Request) -> list[int]:
        if request.begin_token and request.prompt.raw:
            return list(self._tokenizer.encode(request.prompt.text, add_special_tokens=True))
        return prompt_token_ids(self._tokenizer, request.prompt)

    def text(self, ids: Sequence[int]) -> str:
        """As the trainer decodes a response."""
        return response_text(self._tokenizer, ids)

    def check_ids(self) -> list[int]:
        return list(self._tokenizer.encode(CHECK_TEXT, add_special_tokens=False))[:CHECK_TOKENS]


class Session:
    """One engine. Models of one shape are loaded into it in turn (``azr.evaluate.engine`` decides which may
    share one)."""

    def __init__(self, folder: Path, job: EngineJob, on_gpu: bool, report: SendEvent) -> None:
        """Starts vLLM with meaningless weights in the shape of the model in ``folder``; a quantised model is
        read at once, and there is room for the adapters over it."""
        from vllm import LLM  # takes seconds, so only when there is something to ask

        logging.getLogger("vllm").addHandler(_StageHandler(report))
        settings = job.engine
        self._report = report
        self._trust_remote_code = settings.trust_remote_code
        self._quantised = "quantization_config" in read_json(folder / "config.json")
        self._max_model_len = job.max_model_len
        options: dict[str, Any] = {
            "model": str(folder),
            "dtype": settings.dtype,
            "load_format": "auto" if self._quantised else "dummy",
            "worker_extension_cls": "azr.evaluate.engine_worker.LoadingWorkerExtension",
            "generation_config": "vllm",  # every model's own settings go with its requests
            "max_model_len": self._max_model_len,
            "max_num_seqs": settings.max_sequences,
            "tensor_parallel_size": settings.tensor_parallel,
            "trust_remote_code": self._trust_remote_code,
            "enable_prefix_caching": True,
            "seed": 0,
        }
        if adapters := [model.adapters for model, _ in job.models if model.adapters]:
            options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _room_for(adapters)}
        if on_gpu:
            options["gpu_memory_utilization"] = settings.gpu_memory_share
            if self._quantised:
                options["linear_backend"] = "marlin"  # as in training
        else:
            # A prompt read in pieces takes back a sample of its seeded generator; torch's CPU generator
            # cannot (vLLM 0.24 then dies).
            whole = max(CPU_BATCHED_TOKENS, self._max_model_len)
            options |= {
                "enforce_eager": True,
                "enable_chunked_prefill": False,
                "max_num_batched_tokens": whole,
            }
        self._engine = LLM(**options)
        self._adapters: Any = None
        """vLLM's request for the adapters of the model that answers."""
        self._tokens = self._answers = 0
        self._checks: dict[str, tuple[str, list[float]]] = {}
        """Hash of the weights -> label and log-probs."""

    def load(self, model: EngineModel, text: ModelText) -> None:
        """Puts a model's weights into the engine, and makes sure that it is this model that answers now. The
        weights of a quantised model are there; its adapters are put beside them.

        Raises:
            CheckpointError: the checkpoint is damaged.
            ModelError: a weight is missing, or the engine's answers are not those of a newly loaded model.
        """
        self._report({"stage": "load"})
        if self._quantised:
            digest = self._take_adapters(model)
        else:
            if not self._checks:
                self._checks["none"] = "the weights it started with", self._log_probs(text)
            checkpoint = str(model.checkpoint) if model.checkpoint else None
            arguments = (str(model.folder), checkpoint, self._trust_remote_code)
            digest = str(self._engine.collective_rpc("load_evaluated_model", args=arguments)[0])
        now = self._log_probs(text)
        check_loaded(model.label, digest, now, self._checks)
        self._checks[digest] = model.label, now

    def _take_adapters(self, model: EngineModel) -> str:
        """Their hash; ``none`` for the weights alone."""
        from vllm.lora.request import LoRARequest

        if model.adapters is None:
            self._adapters = None
            return "none"
        self._adapters = LoRARequest(model.label, len(self._checks) + 1, str(model.adapters))
        return file_hash(model.adapters / "adapter_model.safetensors")

    def answer(self, pending: Sequence[Pending], text: ModelText) -> None:
        """Writes every answer in the step that finishes it."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._report({"stage": "answer"})
        self._forget_prompts()  # what is asked before must not matter, not even in the last bit
        engine = self._engine.llm_engine
        # samples of an item side by side: they share the blocks of their prompt
        for number, one in enumerate(pending):
            request, decoding = one.request, one.request.decoding
            seed = sampling_seed(decoding.seed, request.item_id, one.sample)
            params = SamplingParams(
                temperature=decoding.temperature,
                top_p=decoding.top_p,
                max_tokens=min(decoding.max_response_tokens, self._max_model_len - len(one.prompt_ids)),
                seed=seed if decoding.temperature else None,
                stop=list(request.stop) or None,
                stop_token_ids=text.end_ids,
                ignore_eos=True,  # of the model that the engine started with; stop_token_ids holds this one's
                detokenize=bool(request.stop),
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            prompt: Any = {"prompt_token_ids": list(one.prompt_ids)}
            engine.add_request(str(number), prompt, params, lora_request=self._adapters)
        stores = {one.store for one in pending}
        reported_s = synced_s = time.monotonic()
        while engine.has_unfinished_requests():
            for output in engine.step():
                self._keep(pending[int(output.request_id)], output, text)
            now_s = time.monotonic()
            if now_s - reported_s >= REPORT_EVERY_S:
                reported_s = now_s
                self._count(engine)
            if now_s - synced_s >= SYNC_EVERY_S:
                synced_s = now_s
                for store in stores:
                    store.sync()
        self._count(engine)
        for store in stores:
            store.sync()

    def _keep(self, one: Pending, output: Any, text: ModelText) -> None:
        best = output.outputs[0]
        # stops cut the text inside a token; without them the text is decoded as the trainer decodes it
        completion = best.text if one.request.stop else text.text(best.token_ids)
        finished = best.finish_reason != "length"
        one.store.append([Answer(one.request.item_id, one.sample, completion, len(best.token_ids), finished)])
        self._answers += 1
        self._tokens += len(best.token_ids)

    def _count(self, engine: Any) -> None:
        texts = (state.detokenizer for state in engine.output_processor.request_states.values())
        tokens = self._tokens + sum(text.num_output_tokens() for text in texts if text is not None)
        self._report({"answers": self._answers, "finished_tokens": self._tokens, "tokens": tokens})

    def _forget_prompts(self) -> None:
        if not self._engine.reset_prefix_cache():
            raise ModelError(
                "vLLM did not drop the previous model's prompt cache; evaluate one model per command"
            )

    def _log_probs(self, text: ModelText) -> list[float]:
        """Of every token of a fixed prompt, and of the likeliest ones after it."""
        from vllm import SamplingParams

        self._forget_prompts()
        ids = text.check_ids()[: self._max_model_len - 1]
        prompt: Any = {"prompt_token_ids": ids}
        params = SamplingParams(
            temperature=0.0, max_tokens=1, logprobs=5, prompt_logprobs=0, detokenize=False
        )
        [output] = self._engine.generate([prompt], params, use_tqdm=False, lora_request=self._adapters)
        scored = zip(output.prompt_logprobs or [], ids, strict=True)
        asked = [each[token].logprob for each, token in scored if each is not None]
        [first] = output.outputs[0].logprobs or [{}]
        return asked + [value for _, value in sorted((token, each.logprob) for token, each in first.items())]


def _room_for(adapters: Sequence[Path]) -> int:
    """The smallest rank that vLLM offers for them."""
    from vllm.config.lora import MaxLoRARanks

    wanted = max(int(read_json(folder / "adapter_config.json")["r"]) for folder in adapters)
    return next(rank for rank in sorted(get_args(MaxLoRARanks)) if rank >= wanted)


def check_loaded(
    label: str, digest: str, now: Sequence[float], before: dict[str, tuple[str, list[float]]]
) -> None:
    """Whether log-probs are those of a model just loaded, whose weights have the hash ``digest``.

    Raises:
        ModelError: they are not numbers, changed although the weights are the same, or did not change although
            they are others.
    """
    if not all(map(math.isfinite, now)):
        raise ModelError(
            f"{label} gives log-probs that are not numbers; its number type may be too narrow: try --dtype float32"
        )
    for other, (name, then) in before.items():
        apart = max(abs(a - b) for a, b in zip(now, then, strict=True)) if len(now) == len(then) else math.inf
        if other == digest and apart > CHECK_TOLERANCE:
            raise ModelError(
                f"{label} has the weights of {name}, yet the engine's log-probs moved by {apart:.3g} between them; its answers cannot be "
                "trusted. Evaluate one model per command"
            )
        if other != digest and apart == 0:
            raise ModelError(
                f"{label} was loaded into the running engine, which still answers as {name}; its answers cannot be trusted. Ask one model "
                "a command"
            )


class _StageHandler(logging.Handler):
    """Tells what vLLM's log says is going on."""

    def __init__(self, report: SendEvent) -> None:
        super().__init__(logging.INFO)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        warms_up = record.getMessage().startswith(("Warming up model", "Profiling CUDA graph"))
        if warms_up or record.name.startswith("vllm.compilation"):
            self._report({"stage": "compile"})
