"""A layer that a machine does not give is named with what gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from azr.config import Config
from azr.doctor import checks as doctor
from azr.doctor.checks import Level
from azr.sandbox.missing import missing_layers
from azr.sandbox.probe import ProbeReport

ALL = ("rlimits", "namespaces", "empty_root", "landlock4", "seccomp")


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("lacking", "files", "words"),
    [
        (
            "namespaces",
            {"proc/sys/kernel/unprivileged_userns_clone": "0\n"},
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "namespaces",
            {"proc/sys/user/max_user_namespaces": "0\n"},
            "sysctl -w user.max_user_namespaces=15000",
        ),
        (
            "namespaces",
            {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"},
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("namespaces", {".dockerenv": ""}, "CAP_SYS_ADMIN"),
        (
            "namespaces",
            {"run/.containerenv": "", "proc/sys/user/max_user_namespaces": "9"},
            "--security-opt seccomp=unconfined",
        ),
        ("namespaces", {}, "CONFIG_USER_NS"),
        ("empty_root", {}, "hidepid"),
        (
            "landlock4",
            {"proc/sys/kernel/osrelease": "5.4.0-91-generic\n"},
            "Linux 5.13 or later (this is 5.4)",
        ),
        ("landlock4", {"proc/sys/kernel/osrelease": "6.8.0\n"}, "lsm=landlock"),
        ("landlock4", {"proc/sys/kernel/osrelease": "6.8.0\n", ".dockerenv": ""}, "landlock_create_ruleset"),
        ("seccomp", {}, "CONFIG_SECCOMP_FILTER"),
        ("seccomp", {"proc/sys/kernel/seccomp/actions_avail": "kill\n"}, "prctl(PR_SET_SECCOMP)"),
    ],
)
def test_each_layer_has_a_way_to_it(tmp_path: Path, lacking: str, files: dict[str, str], words: str) -> None:
    [found] = missing_layers([layer for layer in ALL if layer != lacking], machine(tmp_path, files))
    assert found.layer == lacking.rstrip("4") and words in found.fix and found.without


def test_nothing_is_missing_where_all_are_in_force() -> None:
    assert missing_layers(ALL) == []


def test_the_doctor_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    report = ProbeReport(True, ("rlimits", "seccomp"), {}, "3.11", "x86_64", 1000, 0.1)
    monkeypatch.setattr("azr.sandbox.probe_confinement", lambda _: report)
    findings = list(doctor.sandbox_findings(Config()))
    assert [finding.subject for finding in findings] == [
        "sandbox",
        "sandbox layer namespaces",
        "sandbox layer landlock",
    ]
    assert [finding.level for finding in findings] == [Level.OK, Level.WARNING, Level.WARNING] and all(
        finding.fix for finding in findings[1:]
    )
