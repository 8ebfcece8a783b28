"""The project's own hostile and honest programs, and the format that others extend."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from azr.errors import DataError
from azr.sandbox import suite

SUITE = Path(__file__).with_name("suite.yaml")


def test_the_suite_holds():
    entries = suite.load_suite(SUITE)
    honest = [entry for entry in entries if entry.category == suite.HONEST]
    assert len(honest) >= 60 and len(entries) - len(honest) >= 150
    assert all(entry.values and entry.expected == {"ok"} for entry in honest)
    outcome = suite.run(entries)
    assert outcome.bad == []


def test_the_harness_notices():
    """A wrong verdict, a wrong value and a change of the surroundings are all found."""
    wrong = [
        suite.SuiteCase("verdict", "honest", "def f(x):\n    return x", ("1",), frozenset({"blocked"})),
        suite.SuiteCase("value", "honest", "def f(x):\n    return x", ("1",), frozenset({"ok"}), ("2",)),
        suite.SuiteCase("secret", "result", "def f(x):\n    return '@SECRET@'", ("1",), frozenset({"ok"})),
    ]
    bad = suite.run(wrong).bad
    assert len(bad) == 5  # the two honest ones run twice
    assert any("expected blocked" in line for line in bad) and any("expected ('2',)" in line for line in bad)
    assert any("the secret is in its result" in line for line in bad)
    with suite.ExitStack() as stack:
        around = suite.Surroundings(stack)
        (around.canary / "new").write_text("x")
        around.socket_path.with_name("client")
        with suite.socket.create_connection(("127.0.0.1", around.port)):
            assert len(around.traces()) == 2


def test_other_formats_and_mistakes_in_them(tmp_path):
    record = {"name": "n", "code": "def f(x):\n    return x", "inputs": ["1"], "expected": "ok"}
    lines, whole = tmp_path / "a.jsonl", tmp_path / "b.json"
    lines.write_text(json.dumps(record) + "\n")
    whole.write_text(json.dumps([record]))
    assert suite.load_suite(lines) == suite.load_suite(whole)
    for broken in ([{**record, "expected": "fine"}], [{"name": "n"}], "text", {"programs": 3}):
        whole.write_text(json.dumps(broken))
        with pytest.raises(DataError, match=r"b\.json"):
            suite.load_suite(whole)


_WITHOUT_SECOND_LINES = """
import sys
from pathlib import Path
from azr.sandbox import confine, seccomp, suite
refuse = [(0x06, 0, 0, 0x00050001)]
calls = {(272, 97)[seccomp._COLUMN[confine.MACHINE]]: refuse, 444: refuse, 445: refuse, 446: refuse}
confine.no_new_privileges()
assert confine.Filter(seccomp._assemble(confine.MACHINE, calls, [(0x06, 0, 0, 0x7FFF0000)])).install()
outcome = suite.run([e for e in suite.load_suite(Path(sys.argv[1])) if e.category in ("process", "file", "network", "secret", "honest")])
print(outcome.layers, outcome.bad)
sys.exit(bool(outcome.bad) or "namespaces" in outcome.layers or any("landlock" in layer for layer in outcome.layers))
"""


_WITH_ANOTHER_STACK = """
import resource, sys
from pathlib import Path
from azr.config.sandbox import SandboxConfig
from azr.sandbox import suite
resource.setrlimit(resource.RLIMIT_STACK, (int(sys.argv[2]), resource.getrlimit(resource.RLIMIT_STACK)[1]))
entries = [entry for entry in suite.load_suite(Path(sys.argv[1])) if "nest" in entry.name]
outcome = suite.run(entries, SandboxConfig())
print(outcome.bad)
sys.exit(bool(outcome.bad) or not entries)
"""


def test_verdicts_do_not_depend_on_the_user_s_stack():
    """With ``ulimit -s 256``, two programs of the suite crashed that are errors elsewhere."""
    root = Path(__file__).resolve().parents[2]
    for stack in (256 << 10, 64 << 20):
        done = subprocess.run(
            [sys.executable, "-c", _WITH_ANOTHER_STACK, str(SUITE), str(stack)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_seccomp_and_limits_hold_alone():
    """As on a kernel, or in a container, that gives neither user namespaces nor Landlock."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_SECOND_LINES, str(SUITE)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
