"""The measurement of an update's parts: a delay of known length is found where it was planted, and figures add up."""

import contextlib
import functools
import json
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import update_engine
from update_engine import stay_on_the_cpu

import update_figures
import update_probe
from update_probe import BACKWARD, BETWEEN, CUT, FORWARD, LOSS, Parts


class Clock:
    """Stands still unless somebody sleeps."""

    def __init__(self):
        self.now_s = 100.0

    def perf_counter(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(update_probe, "time", clock)
    return clock


def test_a_second_belongs_to_the_innermost_part(clock):
    parts = Parts()
    with parts.part("outer"):
        clock.sleep(1)
        with parts.part("inner"):
            clock.sleep(2)
        clock.sleep(4)
        with pytest.raises(ValueError), parts.part("failing"):
            clock.sleep(8)
            raise ValueError
    clock.sleep(16)
    assert parts.take() == {"outer": 5, "inner": 2, "failing": 8}
    assert parts.take() == {}


def test_what_was_replaced_is_put_back(clock):
    class Owner:
        def work(self):
            clock.sleep(3)
            return "done"

    owner, parts, plain = Owner(), Parts(), Owner.work
    parts.around(Owner, "work", "working")
    assert owner.work() == "done" and parts.take() == {"working": 3}
    parts.put_back()
    assert Owner.work is plain


def test_a_planted_delay_is_found_between_the_passes(clock, monkeypatch, tmp_path):
    """In the update of a step, and not in the same update alone."""
    stay_on_the_cpu(monkeypatch)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    engine, made, parts = update_engine.engine(), update_engine.batch(), Parts()
    probe = update_probe.EngineProbe(engine, parts, sleep_s=0.25)
    try:
        engine.forward_backward_batch(made, update_engine.loss())
        micro_batches = len(probe.kept)
        assert micro_batches > 2
        found = parts.take()
        assert found[BETWEEN] == pytest.approx(0.25 * micro_batches)
        assert {CUT, FORWARD, LOSS, BACKWARD} <= set(found)
        assert sum(found.values()) == pytest.approx(found[BETWEEN])
        assert sum(probe.tokens()) == made["input_ids"].values().numel()

        before = [parameter.detach().clone() for parameter in engine.module.parameters()]
        probe.in_step = False
        assert probe.alone(list(probe.kept)) == 0.0
        assert all(map(torch.equal, before, engine.module.parameters()))
    finally:
        parts.put_back()
        dist.destroy_process_group()


def test_the_line_that_waits_is_named_whatever_a_warning_passes_through(monkeypatch):
    """CUDA tells of a wait by a warning; how many frames of its own ``warnings`` has differs between Pythons."""
    modes = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    deeper = "def show(message):\n    inner(message)\n\ndef inner(message):\n    shown(message)\n"
    scope = {"shown": warnings._showwarnmsg}
    exec(compile(deeper, warnings.__file__, "exec"), scope)

    def reads_a_value(words):
        with contextlib.suppress(ValueError):
            functools.partial(warnings.warn, words, stacklevel=1)()

    with update_probe.waits_counted() as found:
        monkeypatch.setattr(warnings, "_showwarnmsg", scope["show"])
        for _ in range(3):
            reads_a_value("called a synchronizing CUDA operation")
        reads_a_value("something else")
    line = reads_a_value.__code__.co_firstlineno + 2
    assert found == {f"train/test_update_probe.py:{line} reads_a_value": 3}
    assert modes == ["warn", "default"]


@pytest.mark.parametrize(
    ("path", "package"),
    [
        ("/opt/torch/.venv/lib/python3.12/site-packages/torch/nn/modules/module.py", "torch"),
        ("/opt/torch/.venv/lib/python3.12/site-packages/transformers/masking_utils.py", "transformers"),
        ("/opt/torch/azr/train/verl/update.py", ""),
    ],
)
def test_package_of_an_installed_file(path, package):
    assert update_probe._package(Path(path)) == package


def records(tmp_path, *, alone=True):
    """Five updates of 1,000 tokens: one that meets everything for the first time, three warm ones, one whose parts are told."""
    folder = tmp_path / update_figures.FOLDER
    folder.mkdir()
    seconds = (9.0, 2.0, 2.5, 2.0, 2.2)
    updates = []
    for number, each_s in enumerate(seconds, start=1):
        update = {
            "update": number,
            "tokens": [400, 600],
            "worker_s": each_s - 0.2,
            "extra_s": 5.0 if number > 3 else 0.0,
            "graphs": 2,
            "parts": {FORWARD: 0.5, BACKWARD: 1.0, CUT: 0.4},
            "peak_gib": 9.5,
            "allocator": {"num_device_alloc": 7, "num_alloc_retries": 0},
        }
        updates.append(update)
    updates[0]["waits"] = {"a.py:1 f": 30, "b.py:2 g": 10}
    if alone:
        updates[-2] |= {"alone_s": 1.5, "alone_after_release_s": 1.6}
        updates[-1] |= {"alone_settled_s": 1.7, "alone_parts": {FORWARD: 0.5, BACKWARD: 1.0}}
    calls = [
        {"call": update["worker_s"] + update["extra_s"] + 0.1, "advantages to the queue": 0.1}
        for update in updates
    ]
    for name, lines in ((update_probe.PARTS_FILE, updates), (update_probe.CALLS_FILE, calls)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_figures_of_an_update_in_a_step_and_alone(tmp_path):
    records(tmp_path)
    found = update_figures.figures(tmp_path)
    assert found["step_s"] == pytest.approx(2.0)  # without the seconds that measuring took
    assert found["ratio"] == pytest.approx(0.75)
    assert found["step_tokens_per_s"] == pytest.approx(500)
    assert found["warm_tokens_per_s"] == pytest.approx(500)
    assert found["parts"]["call and answer (Ray)"] == pytest.approx(0.1)
    told = update_figures.table(found)
    assert "9.50 GiB; memory asked of the card 7, 7, 7, 7, 7 times" in told
    assert "75.0 % as fast as alone" in told and "(+0.100 s)" in told
    assert "40 in all, 20 a micro-batch" in told
    line = next(line for line in told.splitlines() if CUT in line)
    assert line.split()[-3:] == ["0.400", "0.000", "0.400"]


def test_a_second_measurement_in_one_folder_begins_anew(tmp_path):
    records(tmp_path)
    _, variables = update_figures.command(tmp_path, 5, 0.25)
    assert update_figures.figures(tmp_path) == {}
    settings = update_probe.Settings(**json.loads(variables[update_probe.VARIABLE]))
    assert settings == update_probe.Settings(str(tmp_path / update_figures.FOLDER), 5, 0.25)


def test_a_run_that_ended_early_has_no_figures(tmp_path):
    assert update_figures.figures(tmp_path) == {}
    records(tmp_path, alone=False)
    assert update_figures.figures(tmp_path) == {}
