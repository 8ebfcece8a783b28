"""Run by test_int4_engine_gpu.py, or by hand: does an engine over an int4 base follow the trainer through its sleep?

    python tests/train/int4_engine.py [--sizes small wide] [--cycles 3] [--limit 240]
    python tests/train/int4_engine.py --cpu --sizes small       a rehearsal: the CPU's kernel, garbage in place of sleep

First one product of the kernel alone. Then, for each size, vLLM with CUDA graphs over a random model; in each cycle
the engine forgets its weights, base and adapters change, both are sent, and the engine's log-probs are compared with
the trainer's, with and without adapters. Says step by step what it does, so that a hang shows where; ends by itself,
with a traceback, after the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/dev"))
from make_random_model import SIZES, make_random_int4, random_words

SIZES["small"] = {
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 1024, "tie_word_embeddings": False,
}  # fmt: skip
SIZES["wide"] = {**SIZES["7b"], "num_hidden_layers": 4, "vocab_size": 32768}
"""The widths of a 7B and some of its layers."""
KERNEL_SHAPES = ((256, 256, 5), (4608, 3584, 96), (37888, 3584, 1), (3584, 18944, 300))
RANK, GRAPHS = 8, [1, 2, 4, 8, 16]
PROMPT, TOKENS, ROWS = 40, 24, 6
ROUNDING = 2.0
"""The engine's log-probs may be so many times as far from float32's as the trainer's, which are bfloat16's too."""
LARGEST_GROWTH_GIB = 0.1
STARTED = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:6.1f} s] {text}", flush=True)


class Trainer:
    """The int4 model with adapters, as peft makes them."""

    def __init__(self, folder: Path, device: str, dtype: str) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        from azr.train.quantize.model import int4_model

        self.device = device
        base: Any = int4_model(folder, getattr(torch, dtype)).to(device)
        lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
        self.model: Any = get_peft_model(base, lora, autocast_adapter_dtype=False).eval()

    def change(self, seed: int) -> None:
        """Other words in all layers, other adapters."""
        import torch

        from azr.train.quantize.linear import Int4Linear

        torch.manual_seed(seed)
        with torch.no_grad():
            for part in self.model.modules():
                if isinstance(part, Int4Linear):
                    words = random_words(part.out_features, part.in_features).to(self.device)
                    part.qweight.data.copy_(words.view(part.qweight.dtype))
            for name, parameter in self.model.named_parameters():
                if ".lora_" in name:
                    size = 0.3 if ".lora_B." in name else 1.0
                    parameter.copy_(
                        (torch.randn(parameter.shape) * size / parameter.shape[1] ** 0.5).bfloat16()
                    )

    def base(self) -> Any:
        from azr.train.quantize.model import served

        prefix = "base_model.model."
        return served(
            (name.removeprefix(prefix), parameter.detach())
            for name, parameter in self.model.named_parameters()
            if ".lora_" not in name
        )

    def adapters(self) -> list[tuple[str, Any]]:
        return [
            (name.replace(".default.", "."), parameter.detach())
            for name, parameter in self.model.named_parameters()
            if ".lora_" in name
        ]

    def log_probs(self, rows: list[list[int]], with_adapters: bool) -> Any:
        """Of the last ``TOKENS`` of each row."""
        import contextlib

        import torch

        context = contextlib.nullcontext() if with_adapters else self.model.disable_adapter()
        with torch.no_grad(), context:
            ids = torch.tensor(rows, device=self.device)
            logits = self.model(input_ids=ids, use_cache=False).logits[:, -TOKENS - 1 : -1].float()
            return logits.log_softmax(-1).gather(-1, ids[:, -TOKENS:, None]).squeeze(-1).cpu()


class Engine:
    def __init__(self, folder: Path, on_gpu: bool) -> None:
        self.sockets, self.on_gpu = tempfile.mkdtemp(prefix="azr-"), on_gpu
        os.environ["AZR_SOCKETS"] = self.sockets  # of the engine's process, which begins here
        from vllm import LLM

        settings: dict[str, Any] = {
            "model": str(folder), "dtype": "bfloat16", "max_model_len": 256, "max_num_seqs": 16,
            "max_num_batched_tokens": 512, "enable_prefix_caching": False, "skip_tokenizer_init": True,
            "enable_lora": True, "max_loras": 1, "max_lora_rank": RANK, "disable_log_stats": True,
            "worker_extension_cls": f"int4_probe.{'ProbeExtension' if on_gpu else 'CpuProbeExtension'}",
        }  # fmt: skip
        if on_gpu:
            from vllm.platforms import current_platform

            total = current_platform.get_device_total_memory()
            settings |= {
                "load_format": "dummy", "enable_sleep_mode": True, "kernel_config": {"linear_backend": "marlin"},
                "compilation_config": {"cudagraph_capture_sizes": GRAPHS}, "gpu_memory_utilization": 5 * 2**30 / total,
            }  # fmt: skip
        else:
            settings |= {"enforce_eager": True}
        self.llm = LLM(**settings)

    def ask(self, method: str, **arguments: Any) -> Any:
        return self.llm.collective_rpc(method, kwargs=arguments)[0]

    def sleep(self) -> None:
        if self.on_gpu:
            self.llm.sleep(level=1)  # as verl asks; the extension makes it 2
        else:
            self.ask("probe_scramble")

    def wake_up(self, tag: str) -> None:
        if self.on_gpu:
            self.llm.wake_up(tags=[tag])

    def send(self, weights: Any, peft_config: dict[str, Any], base_sync_done: bool) -> float:
        """Seconds."""
        from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightSender

        def receive() -> None:
            done = False
            try:
                self.ask(
                    "update_weights_from_ipc",
                    peft_config=peft_config,
                    base_sync_done=base_sync_done,
                    use_shm=not self.on_gpu,
                )
                done = True
            finally:
                if not done:  # the sender would wait for ever
                    traceback.print_exc()
                    say("WRONG: the engine failed while it received weights")
                    os._exit(3)

        started = time.monotonic()
        thread = threading.Thread(target=receive)
        thread.start()
        handle = f"ipc://{self.sockets}/rl-colocate-zmq-0-replica-0-rank-0.sock"
        sender = BucketedWeightSender(zmq_handle=handle, bucket_size_mb=640, use_shm=not self.on_gpu)
        asyncio.run(sender.async_send_weights(weights))
        thread.join()
        return time.monotonic() - started

    def answers(self, seed: int, with_adapters: bool) -> tuple[list[list[int]], Any]:
        """Rows of prompt and answer; the log-probs of the answers."""
        import random

        import torch
        from verl.workers.rollout.vllm_rollout.utils import VLLM_LORA_INT_ID, VLLM_LORA_NAME, VLLM_LORA_PATH
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        draw = random.Random(seed)
        prompts = [[draw.randrange(1024) for _ in range(PROMPT)] for _ in range(ROWS)]
        params = SamplingParams(
            temperature=1.0,
            ignore_eos=True,
            max_tokens=TOKENS,
            min_tokens=TOKENS,
            logprobs=0,
            detokenize=False,
        )
        lora = LoRARequest(VLLM_LORA_NAME, VLLM_LORA_INT_ID, VLLM_LORA_PATH) if with_adapters else None
        asked: Any = [{"prompt_token_ids": prompt} for prompt in prompts]
        rows, log_probs = [], []
        for prompt, answer in zip(
            prompts, self.llm.generate(asked, params, use_tqdm=False, lora_request=lora), strict=True
        ):
            output = answer.outputs[0]
            rows.append([*prompt, *output.token_ids])
            steps: Any = output.logprobs
            log_probs.append(
                [step[token].logprob for token, step in zip(output.token_ids, steps, strict=True)]
            )
        return rows, torch.tensor(log_probs)


def one_size(size: str, folder: Path, on_gpu: bool, cycles: int) -> dict[str, Any]:
    say(f"{size}: starting the engine")
    engine = Engine(folder, on_gpu)
    say(f"{size}: engine started with {engine.ask('probe_kernels')}")
    device = "cuda" if on_gpu else "cpu"
    trainer, exact = Trainer(folder, device, "bfloat16"), Trainer(folder, device, "float32")
    peft_config = trainer.model.peft_config["default"].to_dict()
    say(f"{size}: trainer built; device memory {engine.ask('probe_memory')}")
    gib = sum(tensor.nbytes for _, tensor in trainer.base()) / 2**30
    found: list[dict[str, Any]] = []
    for cycle in range(1, cycles + 1):
        engine.sleep()
        asleep = engine.ask("probe_memory")
        say(f"{size}, cycle {cycle}: asleep {asleep}")
        trainer.change(cycle)
        exact.change(cycle)
        engine.wake_up("weights")
        say(f"{size}, cycle {cycle}: weights awake, sending {gib:.2f} GiB")
        seconds = engine.send(trainer.base(), peft_config, base_sync_done=False)
        moved = engine.ask("probe_moved")
        say(f"{size}, cycle {cycle}: base sent in {seconds:.2f} s, {moved} tensors moved")
        engine.send(trainer.adapters(), peft_config, base_sync_done=True)
        engine.wake_up("kv_cache")
        awake = engine.ask("probe_memory")
        say(f"{size}, cycle {cycle}: awake {awake}")
        figures: dict[str, Any] = {
            "asleep": asleep,
            "awake": awake,
            "send_s": round(seconds, 2),
            "moved": moved,
        }
        for with_adapters in (False, True):
            kind = "adapters" if with_adapters else "base"
            rows, answered = engine.answers(cycle, with_adapters)
            own, right = trainer.log_probs(rows, with_adapters), exact.log_probs(rows, with_adapters)
            apart = (own - answered).abs()
            figures[kind] = {
                "mean": apart.mean().item(),
                "max": apart.max().item(),
                "probabilities": (own.exp() - answered.exp()).abs().mean().item(),
                "engine_from_exact": (answered - right).abs().mean().item(),
                "trainer_from_exact": (own - right).abs().mean().item(),
                "if_not_followed": (exact.log_probs(rows, not with_adapters) - answered).abs().mean().item(),
            }
            figures[kind] = {name: round(value, 5) for name, value in figures[kind].items()}
            say(f"{size}, cycle {cycle}, {kind}: log-probs apart {figures[kind]}")
        found.append(figures)
    shutdown: Any = engine.llm.llm_engine.engine_core
    shutdown.shutdown()
    say(f"{size}: engine ended")
    return {"gib": round(gib, 3), "cycles": found, "wrong": wrong_in(found)}


def wrong_in(cycles: list[dict[str, Any]]) -> list[str]:
    wrong = []
    for number, figures in enumerate(cycles, 1):
        if figures["moved"]:
            wrong.append(f"cycle {number}: {figures['moved']} tensors moved")
        for kind in ("base", "adapters"):
            found = figures[kind]
            largest = ROUNDING * found["trainer_from_exact"]
            if not found["engine_from_exact"] < largest < found["if_not_followed"] / 10:
                wrong.append(f"cycle {number}, {kind}: {found}")
        for state in ("asleep", "awake"):
            grown = figures[state]["engine_gib"] - cycles[min(1, number - 1)][state]["engine_gib"]
            if grown > LARGEST_GROWTH_GIB:
                wrong.append(f"cycle {number}: {grown:.2f} GiB more {state} than in cycle 2")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=["small", "wide"])
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for everything")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    faulthandler.dump_traceback_later(options.limit, exit=True)

    from azr.train.environment import set_environment, worker_environment

    set_environment("cpu" if options.cpu else "cuda", 1)
    for name, value in worker_environment().items():
        os.environ.setdefault(name, value)
    # a process with CUDA in it cannot fork; on a CPU the engine's shall have this one's patches
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork" if options.cpu else "spawn"
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="azr-int4-") as place:
        folders = {size: Path(place) / size for size in options.sizes}
        for size, folder in folders.items():
            make_random_int4(size, folder)
            say(f"wrote a random int4 model of size {size}")
        if options.cpu:
            import vllm  # noqa: F401  (patched below, in the engine's process too, which is a fork of this one)

            from azr.train.cpu import platform  # noqa: F401
            from azr.train.patches import vllm_on_cpu

            vllm_on_cpu.apply()
        else:
            result["kernel"] = kernel_alone()
        for size, folder in folders.items():
            result[size] = one_size(size, folder, not options.cpu, options.cycles)
    wrong = [line for size in options.sizes for line in result[size]["wrong"]]
    print("RESULT " + json.dumps(result), flush=True)
    say("all is well" if not wrong else "WRONG: " + "; ".join(wrong))
    faulthandler.cancel_dump_traceback_later()
    sys.stdout.flush()
    os._exit(1 if wrong else 0)  # the engines' processes end with this one


def kernel_alone() -> list[dict[str, Any]]:
    from dataclasses import asdict

    import torch

    from azr.train.quantize.kernel_check import check_kernel

    found = []
    for outputs, inputs, rows in KERNEL_SHAPES:
        say(f"kernel alone: {rows} rows by [{outputs}, {inputs}]")
        figures = asdict(check_kernel(outputs, inputs, rows))
        torch.cuda.synchronize()
        say(f"kernel alone: {figures}")
        found.append(figures)
    torch.cuda.empty_cache()
    return found


if __name__ == "__main__":
    sys.exit(main())
