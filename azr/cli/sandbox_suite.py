"""Runs a suite of hostile and honest programs against the sandbox: azr sandbox-suite [FILE] [--python PATH]."""

from __future__ import annotations

from collections.abc import Sequence

from azr.cli import command_parser
from azr.config.paths import PROJECT, at_home
from azr.config.sandbox import SandboxConfig
from azr.sandbox import suite
from azr.system.places import prepare_places

OWN_SUITE = PROJECT / "tests" / "sandbox" / "suite.yaml"


def main(words: Sequence[str]) -> int:
    told = "Run programs that the sandbox must contain; exit status 1 if one gets through."
    parser = command_parser("sandbox-suite", told)
    parser.add_argument(
        "file",
        nargs="?",
        type=at_home,
        default=OWN_SUITE,
        help="suite in YAML, JSON or JSONL (default: the project's own)",
    )
    parser.add_argument("--python", default="", help="interpreter that runs the programs (default: this one)")
    parser.add_argument("--only", default="", help="run programs whose name holds this text")
    parser.add_argument("--seed", type=int, default=0, help="seed for the order of the programs")
    parser.add_argument(
        "--one-by-one",
        action="store_true",
        help="check the surroundings after every program: slow, names the culprit",
    )
    arguments = parser.parse_args(words)
    prepare_places()
    config = SandboxConfig(python=arguments.python)
    entries = [entry for entry in suite.load_suite(arguments.file) if arguments.only in entry.name]
    outcome = suite.run(entries, config, seed=arguments.seed, one_by_one=arguments.one_by_one)
    for category in sorted({category for category, _ in outcome.statuses}):
        counts = {
            status: count for (name, status), count in sorted(outcome.statuses.items()) if name == category
        }
        print(
            f"{category:16} {sum(counts.values()):4}  "
            + "  ".join(f"{status} {count}" for status, count in counts.items())
        )
    print(f"layers: {', '.join(outcome.layers)}")
    print(
        f"{outcome.entries} programs, {outcome.runs} runs on Python {outcome.python} in {outcome.seconds:.1f} s: {len(outcome.bad)} bad"
    )
    for line in outcome.bad:
        print(f"BAD {line}")
    return 1 if outcome.bad else 0
