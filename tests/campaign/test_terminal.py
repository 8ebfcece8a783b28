"""A reader that goes away, a closed terminal, nohup: the run goes on, or ends as it does without them."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_campaign import ROOT, command_trainer, wait_for

from azr.campaign.state import State, read_state_file
from azr.run.checkpoints import list_checkpoints
from azr.run.protocol import read_metrics
from azr.run.rundir import RunDir
from azr.system.terminal import SteadyStream

DRIVER = """
import sys
from dataclasses import replace
from azr.system import terminal
from azr.system.terminal import outlive_the_terminal
terminal.PATIENCE_S = 0.2
if __name__ == "__main__":
    outlive_the_terminal()
    import fake_campaign
    from azr.campaign.driver import run_campaign
    from azr.report.live import LiveView

    def progress(run, config):
        return LiveView(run.root, config.report, past=False)

    config = fake_campaign.fast_config(steps_per_cycle=int(sys.argv[2]), cycles=1)
    config = replace(config, report=replace(config.report, html=False, live=sys.argv[3] == "live", refresh_s=0.05))
    sys.exit(run_campaign(config, sys.argv[1], fake_campaign.fake_parts(progress=progress)))
"""
"""The real driver with its real screen, around the fake trainer."""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    command_trainer(run, step_s=0.05, save_every=1000)
    (tmp_path / "driver.py").write_text(DRIVER)
    return run


def driver(run: RunDir, steps: int, view: str = "plain") -> str:
    return f"{sys.executable} -u {run.root.parent / 'driver.py'} {run.root} {steps} {view}"


def shell(command: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    return subprocess.Popen(
        ["bash", "-c", command],
        start_new_session=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
    )


def steps_of(run: RunDir) -> int:
    return len(read_metrics(run))


def test_ctrl_c_to_a_whole_pipeline_saves_and_ends_as_interrupted(run: RunDir) -> None:
    """Ctrl+C reaches ``tee`` as well, which ends at once."""
    status = run.root.parent / "status"
    command = f"(trap - INT; exec {driver(run, 4000)}) 2>&1 | (trap - INT; exec tee {status}.log)"
    process = shell(f"trap '' INT; {command}; echo ${{PIPESTATUS[0]}} > {status}")
    wait_for(lambda: steps_of(run) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert status.read_text().strip() == "130", Path(f"{status}.log").read_text()
    state = read_state_file(run.state)
    assert (
        state.state is State.TRAIN and state.step == state.trained_step >= 2 == len(list_checkpoints(run)) + 1
    )
    assert state.driver is None


def test_a_reader_of_one_line_does_not_end_the_run(run: RunDir) -> None:
    status = run.root.parent / "status"
    shell(f"{driver(run, 8)} 2>&1 | head -1 > {status}.log; echo ${{PIPESTATUS[0]}} > {status}").wait(60)
    assert status.read_text().strip() == "0" and len(Path(f"{status}.log").read_text().splitlines()) == 1
    assert read_state_file(run.state).state is State.DONE and steps_of(run) == 8


def test_a_job_in_the_background_of_a_terminal_that_lets_none_write_goes_on(run: RunDir) -> None:
    """After ``stty tostop`` its first line suspended it, and so did the line that answers SIGTERM."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PYTHONPATH=f"{ROOT}:{Path(__file__).parent}")
        os.execvp("bash", ["bash", "-c", f"stty tostop; set -m; {driver(run, 4)} & wait; sleep 60"])
    try:
        wait_for(lambda: run.state.exists() and read_state_file(run.state).state is State.DONE)
    finally:
        os.close(terminal)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("view", ["plain", "live"])
def test_a_terminal_that_is_closed_ends_the_run_as_ctrl_c_does(run: RunDir, view: str) -> None:
    """The live screen, or plain lines, on a terminal whose window goes away."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PYTHONPATH=f"{ROOT}:{Path(__file__).parent}", TERM="xterm")
        os.execvp("bash", ["bash", "-c", f"exec {driver(run, 4000, view)}"])
    shown = b""

    def has_trained() -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 0)[0]:
            shown += os.read(terminal, 65536)
        return steps_of(run) >= 2 and bool(shown)

    wait_for(has_trained)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    state = read_state_file(run.state)
    assert state.state is State.TRAIN and state.step == state.trained_step >= 2 and state.driver is None


@pytest.mark.parametrize("stopped", ["Ctrl+S", "hung connection", "unread pipe"])
def test_a_run_goes_on_while_nobody_reads_what_it_writes(run: RunDir, stopped: str) -> None:
    if stopped == "unread pipe":
        unread, terminal = os.pipe()
        fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 4096)
        os.write(terminal, b"x" * 4000)
    else:
        unread, terminal = pty.openpty()
        os.set_blocking(terminal, False)
        if stopped == "Ctrl+S":
            os.write(unread, b"\x13")
        else:
            with pytest.raises(BlockingIOError):
                while os.write(terminal, b"x" * 1000):
                    pass
        os.set_blocking(terminal, True)
    process = shell(f"exec {driver(run, 8, 'live' if stopped == 'Ctrl+S' else 'plain')}", stdout=terminal)
    try:
        assert process.wait(60) == 0 and read_state_file(run.state).state is State.DONE
    finally:
        process.kill()
        os.close(unread)
        os.close(terminal)


def test_output_in_a_notebook_stays_there() -> None:
    class OutStream(io.StringIO):
        def fileno(self) -> int:
            return pipe

    reader, pipe = os.pipe()
    shown = OutStream()
    stream = SteadyStream(shown)
    stream.drop_unread()
    stream.write("step 1")
    assert shown.getvalue() == "step 1"
    os.close(pipe)
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_under_nohup_a_hangup_is_nothing(run: RunDir) -> None:
    process = shell(f"exec nohup {driver(run, 25)} > {run.root.parent}/log 2>&1")
    wait_for(lambda: steps_of(run) >= 2)
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0
    assert read_state_file(run.state).state is State.DONE and steps_of(run) == 25


def test_output_that_was_closed_before_the_start(run: RunDir) -> None:
    assert shell(f"exec {driver(run, 4)} >&- 2>&-").wait(60) == 0
    assert read_state_file(run.state).state is State.DONE


def test_output_into_a_full_file_system(run: RunDir) -> None:
    assert shell(f"exec {driver(run, 4)} > /dev/full 2>&1").wait(60) == 0
    assert read_state_file(run.state).state is State.DONE


def test_commands_end_quietly_when_nobody_reads(run: RunDir) -> None:
    shell(f"exec {driver(run, 2)} > /dev/null 2>&1").wait(60)
    errors = run.root.parent / "errors"
    commands = [
        f"scripts/control.py {run.root} status",
        "scripts/report.py --help",
        f"scripts/watch.py {run.root}",
    ]
    for command in [*commands, "azr_single_gpu_pipeline.py --cfg job"]:
        process = shell(f"set -o pipefail; {sys.executable} {ROOT}/{command} 2> {errors} | true")
        assert (process.wait(60), errors.read_text()) == (0, ""), command


def test_every_command_outlives_its_reader() -> None:
    starts = {path.name: path.read_text() for path in (ROOT / "scripts").glob("[!_]*.py")}
    assert {name for name, text in starts.items() if "import start\n" not in text} == set()


def test_watching_ends_with_its_reader(run: RunDir) -> None:
    process = shell(f"exec {driver(run, 4000)} > /dev/null 2>&1")
    wait_for(lambda: steps_of(run) >= 2)
    try:
        watching = shell(
            f"{sys.executable} {ROOT}/scripts/watch.py {run.root} --refresh 0.1 | head -1",
            stdout=subprocess.DEVNULL,
        )
        assert watching.wait(60) == 0
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
