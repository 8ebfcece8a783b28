"""What training over an int4 base would need on a GPU, by the project's own arithmetic: GiB at each moment of a step.

    python scripts/dev/int4_budget.py

Calculated, not measured: no run uses an int4 base yet (docs/quantised.md).
"""

from __future__ import annotations

from dataclasses import replace

from azr.budget.estimate import estimate
from azr.budget.shape import shape_of
from azr.config.load import load
from azr.train.quantize.int4 import GROUP

CASES = (
    ("7B", 16, 8192, 96, 0.74),
    ("7B", 16, 6144, 96, 0.74),
    ("7B", 12, 4096, 48, 0.70),
    ("3B", 8, 4096, 48, 0.55),
)
"""Size, GiB of the card, tokens of a micro-batch, sequences, the engine's share of the card."""


def main() -> None:
    print("model  card  micro-batch  sequences  update   sync  rollout   host  KV tokens")
    for size, card, tokens, sequences, share in CASES:
        config = load(
            [
                "recipe=3b_lora_16gb",
                f"train.micro_batch_tokens={tokens}",
                f"rollout.max_sequences={sequences}",
                f"rollout.gpu_memory_share={share}",
            ]
        ).config
        plain = shape_of(f"Qwen/Qwen2.5-Coder-{size}-Instruct")
        assert plain is not None, "a published shape"
        needed = estimate(config, replace(plain, int4_group=GROUP), card)
        update, sync, rollout = (needed.phase(name).gib for name in ("update", "sync", "rollout"))
        print(
            f"{size:5}  {card:4}  {tokens:11}  {sequences:9}  {update:6.1f} {sync:6.1f}  {rollout:7.1f} "
            f"{needed.ram.gib:6.1f}  {needed.kv_tokens:9}"
        )


if __name__ == "__main__":
    main()
