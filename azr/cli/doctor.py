"""Is this machine ready for a run? Checks card, driver, packages, memory, disk, limits and sandbox; each
problem comes with a fix.

    azr doctor [key=value ...] [--quick] [--json]

Exit status 0: no problem found. 1: something would stop a run. 2: the configuration cannot be read.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from azr.cli import command_parser, options_and_settings
from azr.config.load import load_config
from azr.config.paths import runs_folder
from azr.doctor.checks import Finding, Level, examine, place_findings
from azr.system.hardware import detect
from azr.system.places import prepare_places, troubles
from azr.wording import counted

MARKS = {Level.OK: "ok      ", Level.NOTE: "note    ", Level.WARNING: "WARNING ", Level.PROBLEM: "PROBLEM "}


def main(words: Sequence[str]) -> int:
    parser = command_parser("doctor", __doc__)
    parser.add_argument(
        "overrides",
        nargs="*",
        help="as for azr_single_gpu_pipeline.py; without recipe=, one is chosen",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="leave out torch, CUDA IPC and the sandbox (a second instead of half a minute)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one finding per line")
    options = options_and_settings(parser, words)
    # told as findings; the rest of the doctor looks at what a run would work with
    found = list(troubles(os.environ))
    prepare_places(say=lambda _: None)
    machine = detect()
    config = load_config(options.overrides).config
    if not options.json:
        wsl = ", WSL2" if machine.is_wsl else ""
        print(
            f"{machine.name}; {machine.cpu_cores} cores, {machine.ram_gib:.0f} GiB host memory, {machine.os_name}{wsl}\n"
        )
    levels: Counter[Level] = Counter()
    examined = examine(machine, config, runs_folder(config), quick=options.quick)
    for finding in itertools.chain(place_findings(found), examined):
        levels[finding.level] += 1
        print(json.dumps(asdict(finding)) if options.json else line(finding), flush=True)
    problems, warnings = levels[Level.PROBLEM], levels[Level.WARNING]
    if not options.json:
        counts = f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}"
        print(f"\n{counts}" if problems or warnings else "\nthis machine is ready.")
    return 1 if problems else 0


def line(finding: Finding) -> str:
    text = f"{MARKS[finding.level]}{finding.subject}: {finding.seen}"
    return f"{text}\n          fix: {finding.fix}" if finding.fix else text
