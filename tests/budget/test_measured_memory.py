"""What was measured on cards, predicted again: each phase of each record in ``benchmarks/`` within a tenth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azr.budget.estimate import estimate
from azr.budget.shape import shape_for
from azr.config.load import load_config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
H100_GIB, H200_GIB = 79.65, 139.8
PHASES = {"update": "update", "sync": "sync", "generate": "rollout"}
PADDED = ("published_single_gpu", "update")
"""How much of a padded row is padding decides (docs/performance.md)."""
ALONE = {"update": 6.7, "sync": 6.4, "generate": 7.2}
"""Of ``0_5b_8gb``: only the figures of docs/performance.md were kept."""
PEERS = (
    "budget.automatic=[]", "rollout.gpu_memory_share=0.34", "rollout.max_sequences=512",
    "rollout.max_batched_tokens=16384", "rollout.cuda_graph_sizes=[1,4,16,32,64,96,128,192,256,384,512]",
)  # fmt: skip
"""What the card decided of ``1_5b_16gb`` when it ran beside other trainers."""
PEERS_RECORDS = {
    "peers_1_5b_recomputed_h200.json": (
        "train.micro_batch_tokens=24576",
        "train.gradient_checkpointing=true",
    ),
    "peers_1_5b_h200.json": ("train.micro_batch_tokens=12288", "train.gradient_checkpointing=false"),
}


def read(name: str) -> Any:
    return json.loads((BENCHMARKS / name).read_text(encoding="utf-8"))


def records() -> Iterator[tuple[str, list[str], float, dict[str, float]]]:
    """Recipe, settings, the card's GiB, and the highest use of it by phase."""
    own = ["budget.automatic=[]"]
    h100 = read("step_h100.json")
    for item in [*h100["results"], *h100["alone_on_the_machine"]]:
        if "gpu_peak_gib" in item:
            share = f"rollout.gpu_memory_share={item['engine_share']}"
            settings = [*own, share, "rollout.merge_adapters=false"]
            yield item["recipe"], settings, H100_GIB, item["gpu_peak_gib"]
    yield "0_5b_8gb", [*own, f"rollout.gpu_memory_share={0.32 * 8 / H100_GIB}"], H100_GIB, ALONE
    for item in read("step_h200.json")["results"]:
        for part in (item, item.get("resumed")):
            if part:
                yield item["recipe"], item["settings"], H200_GIB, part["gpu_peak_gib"]
    for item in read("two_cards_h200.json")["results"]:
        recipe, *settings = item["recipe"].split("+")
        settings = [*settings, "model.path=Qwen/Qwen2.5-Coder-1.5B"]  # random weights of its shape
        yield recipe, settings, H200_GIB, item["gpu_peak_gib"]
    for name, update in PEERS_RECORDS.items():
        [ours] = [item for item in read(name)["results"] if item["peer"] == "ours"]
        yield "1_5b_16gb", [*PEERS, *update], H200_GIB, ours["gpu_peak_gib_by_phase"]


@pytest.mark.parametrize(("recipe", "settings", "card_gib", "measured"), records())
def test_what_is_predicted_was_measured(
    recipe: str, settings: list[str], card_gib: float, measured: dict[str, float]
) -> None:
    config = load_config([f"recipe={recipe}", *settings]).config
    shape = shape_for(config)
    assert shape is not None
    needed = estimate(config, shape, card_gib)
    for seen, phase in PHASES.items():
        if (recipe, phase) != PADDED:
            assert needed.phase(phase).gib == pytest.approx(measured[seen], rel=0.1), phase
