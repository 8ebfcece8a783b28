"""Moves a run to another machine, where it can be resumed.

    azr move-run pack runs/default default.azr.zip                 what a resume needs, and the logs
    azr move-run pack runs/default default.azr.zip --limit-mib 60  the logs as far as there is room
    azr move-run unpack default.azr.zip runs/default --model /models/qwen

The base model does not travel: it is known by its content, and compared with the one there. More:
docs/howto/moving_a_run.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from azr.cli import command_parser
from azr.cli.numbers import above_zero
from azr.config.paths import at_home, find
from azr.moving.pack import PackOptions, archive_file, pack_run
from azr.moving.unpack import unpack_run


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("move-run", __doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="write a run into one file")
    pack.add_argument("run", type=find, metavar="RUN", help="run directory; the run must not be in use")
    pack.add_argument("out", metavar="OUT", help="file to write, which must not exist, or a folder for it")
    pack.add_argument(
        "--limit-mib",
        type=above_zero,
        help="size limit of the archive in MiB; transcripts and logs are left out first",
    )
    pack.add_argument("--all", action="store_true", help="every checkpoint, not only the newest")
    unpack = commands.add_parser("unpack", help="make a run directory from such a file")
    unpack.add_argument("archive", type=at_home, metavar="ARCHIVE")
    unpack.add_argument(
        "run", type=at_home, metavar="RUN", help="run directory to create, such as runs/NAME; must not exist"
    )
    unpack.add_argument(
        "--model",
        default="",
        metavar="FOLDER",
        help="folder of the run's model on this machine; its content must be the same",
    )
    unpack.add_argument(
        "--trust",
        action="store_true",
        help="accept checkpoints that hold more than tensors (from several GPUs; only your own)",
    )
    return parser


def main(words: Sequence[str]) -> int:
    arguments = _parser().parse_args(words)
    if arguments.command == "pack":
        run = arguments.run.absolute()
        pack_run(run, archive_file(run, arguments.out), PackOptions(arguments.limit_mib, arguments.all))
    else:
        target = arguments.run.absolute()
        unpack_run(arguments.archive.absolute(), target, model=arguments.model, trust=arguments.trust)
    return 0
