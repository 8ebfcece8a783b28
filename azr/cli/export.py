"""Exports the model or the tasks of a run.

    azr export runs/default --out my-model                  the best checkpoint, as a Hugging Face folder
    azr export runs/default --out my-model --step latest    or: --step 120
    azr export runs/default --out my-model --gguf --llama-cpp llama.cpp
    azr export runs/default --out my-lora --adapters        the LoRA adapters alone, as a PEFT folder
    azr export runs/default --out my-tasks --tasks          the verified tasks, as a datasets folder (parquet)

The exported model answers the run's probe tasks again, and must score what the trainer recorded. More:
docs/export.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from azr.cli import command_parser, place_to_write
from azr.cli.numbers import difference, share
from azr.config.paths import at_home, find
from azr.errors import ModelError, RunError
from azr.evaluate.adapters import export_adapters
from azr.evaluate.export import TOLERANCE, ExportOptions, export_model
from azr.evaluate.task_export import export_tasks
from azr.run.rundir import RunDir, is_run, run_meant
from azr.system.places import prepare_places

GGUF_TYPES = ("f32", "f16", "bf16", "q8_0", "auto")


def _gguf_type(text: str) -> str:
    text = text.lower()
    if text not in GGUF_TYPES:
        raise argparse.ArgumentTypeError(
            f"GGUF type {text!r} is unknown; the types are {', '.join(GGUF_TYPES)}. Smaller types: llama.cpp's llama-quantize, afterwards"
        )
    return text


def _without_out(folder: str) -> None:
    raise RunError(f"the folder to write is given as --out {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("export", __doc__)
    parser.add_argument("run", type=find, metavar="RUN", help="run directory")
    parser.add_argument(
        "--out", type=place_to_write, required=True, metavar="DIR", help="folder to write; must not exist"
    )
    parser.add_argument("folder", nargs="?", type=_without_out, help=argparse.SUPPRESS)
    parser.add_argument("-o", type=_without_out, help=argparse.SUPPRESS)
    parser.add_argument("--step", help="step of a checkpoint, best (by probe score; default) or latest")
    parser.add_argument(
        "--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16", help="type of the weights"
    )
    parser.add_argument(
        "--adapters", action="store_true", help="export the LoRA adapters alone, as a PEFT folder"
    )
    parser.add_argument("--tasks", action="store_true", help="export the verified tasks instead of the model")
    parser.add_argument(
        "--gguf",
        type=_gguf_type,
        nargs="?",
        const="bf16",
        metavar="TYPE",
        help="also write a GGUF file: bf16 (default), f16, f32, q8_0",
    )
    parser.add_argument(
        "--llama-cpp",
        type=at_home,
        metavar="DIR",
        help="checkout of llama.cpp, whose converter writes the GGUF file",
    )
    parser.add_argument("--no-check", action="store_true", help="do not measure the probe score again")
    parser.add_argument(
        "--tolerance",
        type=difference,
        default=TOLERANCE,
        help="largest allowed difference between the two probe scores (default: %(default)s)",
    )
    parser.add_argument(
        "--gpu-memory-share", type=share, default=0.85, help="share of GPU memory for the check"
    )
    return parser


def main(words: Sequence[str]) -> int:
    if any(word.startswith(("--push", "--hub", "--repo")) for word in words):  # as trainers of others have it
        raise RunError(
            "nothing is uploaded here: export the model with --out my-model, then `hf upload ORG/NAME my-model`"
        )
    arguments = _parser().parse_args(words)
    run = RunDir(arguments.run.resolve())
    target = arguments.out.resolve()
    prepare_places()
    if not is_run(run.root):
        step = ", and the checkpoint as --step best, latest or a number" if "@" in run.root.name else ""
        raise RunError(f"{run.root} is not a run directory; {run_meant(arguments.run)}{step}")
    if arguments.tasks:
        if arguments.gguf or arguments.adapters or arguments.step is not None:
            raise RunError(
                "--tasks writes all tasks of the run and no model: leave --step, --adapters and --gguf out"
            )
        print(f"{export_tasks(run, target)}, written to {target}")
    elif arguments.adapters:
        if arguments.gguf:
            raise ModelError("--adapters writes no weights of a whole model, so it does not go with --gguf")
        export_adapters(run, target, arguments.step or "best")
    else:
        options = ExportOptions(
            step=arguments.step or "best",
            dtype=arguments.dtype,
            check=not arguments.no_check,
            tolerance=arguments.tolerance,
            gguf=arguments.gguf,
            llama_cpp=arguments.llama_cpp,
            gpu_memory_share=arguments.gpu_memory_share,
        )
        export_model(run, target, options)
    return 0
