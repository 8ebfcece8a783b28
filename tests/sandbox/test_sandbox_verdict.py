"""What hostile bytes from a program's process can do to the trainer: nothing."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.sandbox import frames
from azr.sandbox.frames import CallFrame, pack_call
from azr.sandbox.job import Status
from azr.sandbox.order import order_sensitive
from azr.sandbox.program import Program, pack_program, read_program
from azr.sandbox.verdict import call_results
from azr.sandbox.worker import ChildExit
from azr.sandbox.zygote import CPU_LIMIT, ENDED, FLOOD, WALL_LIMIT


def program(inputs=("1", "2"), repeats=2, reverse=False) -> Program:
    return Program(7, False, repeats, reverse, 2.0, 6.0, 1024, 256, 65536, "f", "def f(x): return x", inputs)


def report(data: bytes, verdict=ENDED, number=0) -> ChildExit:
    return ChildExit(7, verdict, number, 0.1, 0.2, data)


def good(call: int, value: str, repeat: int) -> bytes:
    return pack_call(CallFrame(call, frames.OK, repeat, 0.01, "" if repeat else value, "", ""))


WHOLE = good(0, "1", 0) + good(0, "1", 1) + good(1, "[2]", 0) + good(1, "[2]", 1)


def test_whole_result():
    calls = call_results(report(WHOLE), program())
    assert [call.value for call in calls] == ["1", "[2]"]
    assert all(call.ok for call in calls)


def test_what_a_missing_end_means():
    half = good(0, "1", 0) + good(0, "1", 1) + good(1, "2", 0)
    for verdict, number, status in (
        (CPU_LIMIT, 9, Status.TIMEOUT),
        (WALL_LIMIT, 9, Status.TIMEOUT),
        (FLOOD, 9, Status.KILLED),
        (ENDED, signal.SIGSYS, Status.BLOCKED),
        (ENDED, signal.SIGSEGV, Status.KILLED),
        (ENDED, signal.SIGKILL, Status.KILLED),
        (ENDED, 0, Status.KILLED),
    ):
        calls = call_results(report(half, verdict, number), program())
        assert calls[0].ok and calls[1].status is status
        calls = call_results(report(half, verdict, number), program(("1", "2", "3")))
        assert calls[2].status is status and calls[2].reason.startswith("not run")


def test_values_that_are_not_canonical_are_refused():
    for text in ("__import__('os')", "1 ", "[1,2]", "", "\ud800", "{1: 2, 1: 3}"):
        calls = call_results(report(good(0, text, 0) + good(0, text, 1)), program(("1",)))
        assert calls[0].status is Status.REFUSED and calls[0].value is None


@settings(deadline=None, max_examples=600)
@given(st.data())
def test_mutated_frames_never_raise(data):
    raw = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, len(raw)))
        raw[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    verdict = data.draw(st.sampled_from([ENDED, CPU_LIMIT, WALL_LIMIT, FLOOD]))
    calls = call_results(report(bytes(raw), verdict, data.draw(st.integers(0, 64))), program())
    assert len(calls) == 2
    assert all(call.status in Status for call in calls)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise(raw):
    calls = call_results(report(raw), program())
    assert not any(call.ok for call in calls)


@settings(deadline=None, max_examples=100)
@given(
    st.text(st.characters(exclude_categories=())),
    st.lists(st.text(st.characters(exclude_categories=())), max_size=3),
)
def test_programs_reach_the_zygote_unchanged(code, inputs):
    item = Program(2**40, True, 1, True, 0.5, 1.5, 64, 8, 99, "g", code, tuple(inputs))
    assert read_program(pack_program(item)[4:]) == item


@pytest.mark.parametrize(
    ("code", "sensitive"),
    [
        ("def f(x):\n    return sorted(x)", False),
        ("def f(x):\n    return {1: 2}, x.keys()", False),
        ("def f(x):\n    return {1, 2}", True),
        ("def f(x):\n    return {y for y in x}", True),
        ("def f(x):\n    return list(set(x))", True),
        ("def f(x):\n    return hash(x)", True),
        ("def f(x):\n    return x.union(x)", True),
        ("def f(x):\n    return x.keys() & x", True),
        ("def f(x):\n    return x - x", False),
        ("def f(x):\n    return " + "(" * 10_000 + "x" + ")" * 10_000, True),
        ("x = [" + "1, " * 20_000 + "]", True),
        ("def f(x:", True),
    ],
)
def test_order_sensitive_programs_are_told_from_others(code, sensitive):
    """What is too long or too nested to look at counts as sensitive."""
    assert order_sensitive(code) is sensitive
