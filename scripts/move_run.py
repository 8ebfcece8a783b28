#!/usr/bin/env python
"""Takes a run to another machine, which goes on with it.

    python scripts/move_run.py pack runs/default default.azr.zip                 what a resume needs, and the logs
    python scripts/move_run.py pack runs/default default.azr.zip --limit-mib 60  the logs as far as there is room
    python scripts/move_run.py unpack default.azr.zip runs/default --model /models/qwen

The base model does not travel: it is known by its content, and compared with the one there. More: docs/howto/moving_a_run.md
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from azr.errors import AzrError
from azr.moving.pack import PackOptions, pack_run
from azr.moving.unpack import unpack_run
from azr.terminal import outlive_the_terminal, tolerate_any_encoding


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="write a run into one file")
    pack.add_argument("run", type=Path, metavar="RUN", help="run directory; nobody may work on it")
    pack.add_argument("out", type=Path, metavar="OUT", help="file to write; must not exist")
    pack.add_argument("--limit-mib", type=_above_zero, help="largest archive, in MiB; transcripts and logs give way")
    pack.add_argument("--all", action="store_true", help="every checkpoint, not the newest alone")
    unpack = commands.add_parser("unpack", help="make a run directory of such a file")
    unpack.add_argument("archive", type=Path, metavar="ARCHIVE")
    unpack.add_argument("run", type=Path, metavar="RUN", help="run directory to make, such as runs/NAME; must not exist")
    unpack.add_argument("--model", default="", metavar="FOLDER", help="where the run's model lies here; must be the same by content")
    unpack.add_argument("--trust", action="store_true", help="take checkpoints that hold more than tensors (several GPUs; your own only)")
    return parser


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no size above 0")
    return value


def main() -> int:
    tolerate_any_encoding()
    arguments = _parser().parse_args()
    run = arguments.run.expanduser().absolute()
    try:
        if arguments.command == "pack":
            pack_run(run, arguments.out.expanduser().absolute(), PackOptions(arguments.limit_mib, arguments.all))
        else:
            unpack_run(arguments.archive.expanduser().absolute(), run, model=arguments.model, trust=arguments.trust)
    except (AzrError, OSError) as error:
        print(f"move_run: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nmove_run: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    outlive_the_terminal()
    sys.exit(main())
