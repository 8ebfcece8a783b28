"""Scores models on fixed suites: azr evaluate MODEL [MODEL ...] --suite probes [--suite humaneval ...]

MODEL   RUN (its newest checkpoint), RUN@best, RUN@12 (step), RUN@0 (the model it started from), a checkpoint's folder, a Hugging
        Face folder, or a hub name. Several models are compared with the first: each in its best style, task
        by task.
SUITE   probes[=PATH], proposals[=FILE], humaneval, and from their authors' files (NAME=FILE): humaneval+, mbpp, mbpp+, cruxeval-i,
        cruxeval-o, livecodebench, livecodebench-execution, gsm8k
STYLE   native (as the suite's authors ask), native-cot (with their chain of thought), frame (as the run trains); default: all

    azr evaluate runs/default@0 runs/default@best --suite probes
    azr evaluate Qwen/Qwen2.5-Coder-0.5B-Instruct --suite humaneval --style native
    azr evaluate --answers samples.jsonl --suite humaneval     recorded answers, no model

Greedy by default; --samples 10 --k 1,5,10 samples at temperature 1. The same command resumes where it was
interrupted. Results that differ from those in the output folder replace them; the earlier ones stay beside
them, under a number (result-001.json).

COLUMNS
style       how the model was asked; in a frame, answers are read twice: strict (in its format only) and lenient (wherever they stand)
pass@1      share of right answers (of valid proposals); pass@1/KIND: of one kind; pass@5: of items where one of five answers is right
n           items that the score is made of
format      in a frame: share of answers with the think and answer tags
cut         share of answers that the response limit ended (--max-response-tokens; native styles have their harness's limit)
too long    items whose prompt was over the limit (--max-prompt-tokens): requests of proposals are drawn again, others count as wrong

What the figures mean: docs/evaluate.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from azr.cli import command_parser, place_to_write
from azr.cli.numbers import above_zero, count, share, temperature
from azr.config.paths import at_home
from azr.evaluate.evaluation import evaluate
from azr.evaluate.options import Options
from azr.evaluate.speaker import FORMS
from azr.evaluate.suites import STYLES
from azr.prompts import SHIPPED_FRAMES
from azr.system.imports import require_no_shadows
from azr.system.places import prepare_places


def _ks(text: str) -> list[int]:
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,5,10") from error
    if any(value < 1 for value in values):
        raise argparse.ArgumentTypeError("k starts at 1")
    return values


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("evaluate", __doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument(
        "--suite",
        action="append",
        dest="suites",
        metavar="SUITE",
        help="may be given several times; default: probes",
    )
    parser.add_argument(
        "--out",
        type=place_to_write,
        help="folder of answers and results (default: RUN/evaluations, or evaluations here)",
    )
    parser.add_argument(
        "--limit",
        type=count,
        default=0,
        metavar="N",
        help="only N items of each suite, all kinds in proportion",
    )
    parser.add_argument("--restart", action="store_true", help="discard answers given under other settings")
    asking = parser.add_argument_group("how models are prompted (default: as in their run)")
    asking.add_argument(
        "--frame", help=f"prompt frame: {', '.join(SHIPPED_FRAMES)}, or a folder that holds one"
    )
    asking.add_argument(
        "--style",
        action="append",
        dest="styles",
        choices=tuple(STYLES),
        help="may be given several times; default: all that a suite has",
    )
    asking.add_argument(
        "--native-form",
        choices=FORMS,
        default="auto",
        help="chat template or plain continuation (auto: as the model was made for)",
    )
    asking.add_argument("--samples", type=count, default=1, metavar="N", help="answers per item")
    asking.add_argument(
        "--k", type=_ks, default=[1], dest="ks", metavar="K,K", help="pass@k to report, for example 1,5,10"
    )
    asking.add_argument(
        "--temperature", type=temperature, help="default: 0 (greedy) for one answer, 1 for several"
    )
    asking.add_argument("--top-p", type=share, default=1.0)
    asking.add_argument("--seed", type=int, default=0)
    asking.add_argument("--max-prompt-tokens", type=count)
    asking.add_argument("--max-response-tokens", type=count)
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--device",
        choices=("auto", "cuda", "cpu"),
        help="default: the run's device, else a GPU if one is usable",
    )
    engine.add_argument("--dtype", choices=("bfloat16", "float16", "float32"))
    engine.add_argument(
        "--gpu-memory-share", type=share, default=0.85, help="share of GPU memory that vLLM may use"
    )
    engine.add_argument("--max-sequences", type=count, default=256, help="answers decoded at once")
    engine.add_argument("--tensor-parallel", type=count, default=1, help="GPUs that share the model")
    engine.add_argument(
        "--cpu-kv-cache-gib", type=above_zero, default=1.0, help="KV cache on a machine without a GPU"
    )
    engine.add_argument("--trust-remote-code", action="store_true")
    recorded = parser.add_argument_group("recorded answers")
    recorded.add_argument(
        "--answers",
        action="append",
        type=at_home,
        metavar="FILE",
        help="JSONL with id (or task_id) and completion, instead of models",
    )
    recorded.add_argument(
        "--partial",
        action="store_true",
        help="judge only the items that have an answer; without --answers: what an interrupted evaluation has by now",
    )
    return parser


def main(words: Sequence[str]) -> int:
    parser = _parser()
    arguments = vars(parser.parse_args(words))
    models: list[str] = arguments.pop("models")
    if len(arguments["answers"] or ()) > 1:
        parser.error("--answers takes one file; give each a command of its own")
    arguments["answers"] = arguments["answers"][0] if arguments["answers"] else None
    if bool(models) == bool(arguments["answers"]):
        parser.error("give models, or --answers FILE (not both)")
    if not arguments["suites"]:
        if arguments["answers"]:
            parser.error("--answers needs --suite, to say what was answered")
        arguments["suites"] = ["probes"]
    arguments["styles"] = arguments["styles"] or []
    require_no_shadows()
    prepare_places()
    evaluate(models, Options(**arguments))
    return 0
