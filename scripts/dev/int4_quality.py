"""What quantising a model to int4 costs before any training: perplexity of the base in bfloat16 and in int4, and the
divergence between the two, on Python code of the standard library.

    python scripts/dev/int4_quality.py path/of/model [--tokens 4096]
    python scripts/dev/int4_quality.py path/of/model --int4 path/of/int4     # another int4 version of it (make_gptq.py)
"""

from __future__ import annotations

import _project

import heapq
import json
import statistics
import textwrap
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from azr.train.quantize.folder import int4_folder
from azr.train.quantize.model import int4_model

ROW_TOKENS = 512
TEXTS = (statistics, textwrap, heapq)
CHARACTERS = 12_000
"""Of each file."""


@torch.no_grad()
def log_probs(model: Any, rows: torch.Tensor) -> torch.Tensor:
    """Of every token of the vocabulary at every place but the last: ``[rows, ROW_TOKENS - 1, vocabulary]``."""
    model.eval()
    found = [model(input_ids=row[None]).logits[0, :-1].float().log_softmax(-1).half() for row in rows]
    return torch.stack(found)


def perplexity(scores: torch.Tensor, rows: torch.Tensor) -> float:
    return float((-scores.gather(-1, rows[:, 1:, None]).float().mean()).exp())


def main() -> None:
    parser = _project.argument_parser(__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--int4", type=Path)
    options = parser.parse_args()
    text = "".join(Path(str(part.__file__)).read_text(encoding="utf-8")[:CHARACTERS] for part in TEXTS)
    tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
    ids = tokenizer(text, return_tensors="pt").input_ids[0, : options.tokens]
    rows = ids[: len(ids) // ROW_TOKENS * ROW_TOKENS].view(-1, ROW_TOKENS)

    plain: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16)
    before = log_probs(plain, rows)
    del plain
    after = log_probs(int4_model(int4_folder(options.int4 or options.model), torch.bfloat16), rows)
    divergences = [
        float((own.float().exp() * (own.float() - other.float())).sum(-1).mean())
        for own, other in zip(before, after, strict=True)
    ]
    report = {
        "tokens": rows.numel(),
        "perplexity_bfloat16": round(perplexity(before, rows), 3),
        "perplexity_int4": round(perplexity(after, rows), 3),
        "divergence": round(statistics.mean(divergences), 4),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
