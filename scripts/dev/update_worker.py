"""The update in the policy's worker against the update alone, without engine, queue and Ray: a minute on a card instead of
the minutes that ``bench_step.py --explain-update`` takes.

    python scripts/dev/update_worker.py 1_5b_16gb --model build/random-1.5b [--rows 96] [--override KEY=VALUE ...] [--json FILE]
    python scripts/dev/update_worker.py 1_5b_16gb --model build/random-1.5b --verl-loop     as it was with verl's own passes

verl's worker with the recipe's settings gets batches of random tokens, and gives its memory back after each, as in a step.
What the step has besides (advantages to the queue, columns from it, Ray) is 0 in the table.
"""

from __future__ import annotations

import _project

import argparse
import json
import os
import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import update_figures
from azr.config.load import load_config
from azr.errors import AzrError
from azr.system.files import append_jsonl, write_text_atomic
from azr.system.hardware import detect, device_for
from azr.system.places import prepare_places
from azr.system.terminal import outlive_the_terminal
from azr.train.environment import set_environment
from update_probe import CALLS_FILE, PARTS_FILE, Settings, WorkerProbe

TOKENS = 250
"""Every tokenizer has so many."""


def worker_of(recipe: list[str], model: Path, device: str) -> Any:
    """verl's training worker of the policy, ready to train."""
    from omegaconf import OmegaConf
    from verl.utils.config import omega_conf_to_dataclass
    from verl.utils.device import set_expandable_segments
    from verl.workers.config import HFModelConfig, TrainingWorkerConfig
    from verl.workers.utils.losses import ppo_loss

    from azr.train.verl import policy_worker
    from azr.train.verl.configuration import build_verl_config

    config = load_config([*recipe, f"model.path={model}"]).config
    verl_config = build_verl_config(config, model, Path("runs/none"), device)
    OmegaConf.resolve(verl_config)
    parts = verl_config.actor_rollout_ref
    shape = omega_conf_to_dataclass(parts.model, dataclass_type=HFModelConfig)
    actor: Any = omega_conf_to_dataclass(parts.actor)
    actor.model_config = shape
    settings: Any = TrainingWorkerConfig(
        model_type="language_model",
        model_config=shape,
        engine_config=actor.engine,
        optimizer_config=actor.optim,
        checkpoint_config=actor.checkpoint,
        profiler_config=None,  # type: ignore[arg-type]
    )
    engine = settings.engine_config
    engine.use_dynamic_bsz = True
    engine.max_token_len_per_gpu = engine.infer_max_token_len_per_gpu = actor.ppo_max_token_len_per_gpu
    set_expandable_segments(True)  # as verl has it while the engine sleeps
    made = policy_worker.PolicyTrainingWorker(settings)
    made.reset()
    made.set_loss_fn(partial(ppo_loss, config=actor))
    return made


def use_verls_loop() -> None:
    """verl's own passes and its selection of rows, to compare with."""
    from verl.utils import tensordict_utils

    from azr.train.patches import rows
    from azr.train.verl import packed_engine

    tensordict_utils.index_select_tensor_dict = rows._theirs
    packed_engine.policy_loss_config = lambda *_: None


def random_batch(rows: int, prompt: int, response: int, seed: int) -> Any:
    """What an update reads: sequences of half to one and a half of these lengths, in the mean these."""
    import torch
    from verl.utils import tensordict_utils as tu

    draw, generator = random.Random(seed), torch.Generator().manual_seed(seed)

    def nested(tensors: Any) -> torch.Tensor:
        return torch.nested.as_nested_tensor(list(tensors), layout=torch.jagged)

    def texts(mean: int) -> list[torch.Tensor]:
        lengths = [draw.randint(mean // 2, mean + mean // 2) for _ in range(rows)]
        return [torch.randint(1, TOKENS, (length,), generator=generator) for length in lengths]

    prompts, responses = texts(prompt), texts(response)
    whole = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    ones = nested(torch.ones(len(each), dtype=torch.int64) for each in responses)
    batch = tu.get_tensordict(
        {
            "prompts": nested(prompts),
            "responses": nested(responses),
            "input_ids": nested(whole),
            "position_ids": nested(torch.arange(len(each)) for each in whole),
            "response_mask": ones,
            "loss_mask": ones,
            "old_log_probs": nested(-10 - torch.rand(len(each), generator=generator) for each in responses),
            "advantages": nested(torch.full((len(each),), draw.gauss(0, 1)) for each in responses),
        }
    )
    tu.assign_non_tensor(
        batch, calculate_entropy=True, distillation_use_topk=False, distillation_only=False, temperature=1.0,
        global_batch_size=rows, mini_batch_size=rows, epochs=1, seed=0, dataloader_kwargs={"shuffle": False},
    )  # fmt: skip
    return batch


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    with tempfile.TemporaryDirectory(prefix="azr-bench-") as root:
        folder = Path(root) / update_figures.FOLDER
        settings = Settings(str(folder), options.steps, options.plant_sleep_ms / 1000)
        worker = worker_of(
            [f"recipe={options.recipe}", *options.override], options.model.resolve(), options.device
        )
        if options.verl_loop:
            use_verls_loop()
        probe = WorkerProbe(SimpleNamespace(actor=worker), settings)
        for step in range(options.steps):
            batch = random_batch(options.rows, options.prompt, options.response, seed=step)
            if options.device == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            probe.begins_s = time.perf_counter()
            probe.update(worker.train_mini_batch, batch)
        for update in update_figures.read(Path(root), PARTS_FILE):
            call_s = update["worker_s"] + update["extra_s"]
            append_jsonl(folder / CALLS_FILE, [{"call": call_s, "advantages to the queue": 0.0}])
        return update_figures.figures(Path(root))


def main() -> int:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--model", type=Path, required=True, help="folder of a model (make_random_model.py)")
    parser.add_argument("--rows", type=int, default=96, help="sequences of an update")
    parser.add_argument("--prompt", type=int, default=600, help="mean prompt tokens")
    parser.add_argument("--response", type=int, default=300, help="mean response tokens")
    parser.add_argument("--steps", type=int, default=update_figures.LEAST_STEPS)
    parser.add_argument("--plant-sleep-ms", type=float, default=0.0, help="before each micro-batch")
    parser.add_argument("--verl-loop", action="store_true", help="verl's own passes, to compare with")
    parser.add_argument("--override", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    try:
        prepare_places()
        device = device_for(detect(), "auto")
        device.take()
        options.device = device.kind
        set_environment(options.device, 1)  # before torch is imported, which reads some of it
        port = random.randrange(20000, 60000)
        alone = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in alone.items()})
        found = measure(options)
    except AzrError as error:
        print(f"update_worker: {error}", file=sys.stderr)
        return 2
    where = str(device)
    print(f"{where}, {options.recipe}: {update_figures.table(found)}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(
            options.json, json.dumps({"machine": where, "recipe": options.recipe} | found, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
