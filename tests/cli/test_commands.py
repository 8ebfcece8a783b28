"""The ``azr`` command, the files in scripts/ that start the same, and an installation of its own in a folder
with a blank."""

from __future__ import annotations

import os
import re
import shutil
import signal
import site
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

from azr import cli

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {path.stem for path in (ROOT / "scripts").glob("[!_]*.py")}
BARE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(
        words, cwd=cwd, env={**BARE, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_scripts_and_subcommands_are_the_same() -> None:
    assert {name.replace("-", "_") for name in cli.COMMANDS} - {"run"} == SCRIPTS
    for name in SCRIPTS:
        assert f'start("{name.replace("_", "-")}")' in (ROOT / "scripts" / f"{name}.py").read_text()


def test_no_script_changes_where_python_looks() -> None:
    paths = [*(ROOT / "scripts").rglob("*.py"), ROOT / "azr_single_gpu_pipeline.py"]
    assert not [path.name for path in paths if "sys.path" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_on_any_terminal(name: str, tmp_path: Path) -> None:
    done = run(
        sys.executable,
        "-m",
        "azr",
        name,
        "--help",
        cwd=tmp_path,
        PYTHONPATH=str(ROOT),
        PYTHONIOENCODING="ascii",
    )
    assert done.returncode == 0 and f"azr {name}" in done.stdout, done.stderr


def test_the_bare_command_lists_what_there_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["azr"])
    assert cli.main() == 0 and "azr evaluate" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["watch", "--version"], ["run", "--version"]])
def test_the_versions(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    [written] = re.findall(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert cli.main(words) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"azr {written}") and first.endswith(f"in {ROOT}")
    assert all(f", {name} {version(name)}" in second for name in ("torch", "verl", "transformers"))


def test_slips_end_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["wacth", "runs/x"]) == 2 and "did you mean azr watch?" in capsys.readouterr().err
    assert cli.main(["plot", "runs/x"]) == 2 and "did you mean azr plot-metrics" in capsys.readouterr().err
    assert cli.main(["zzz"]) == 2 and "there are run, watch, report" in capsys.readouterr().err
    assert cli.main(["watch", "/nowhere/x", "--once"]) == 2 and "watch: " in capsys.readouterr().err
    assert cli.main([]) == cli.main(["--help"]) == 0 and "azr evaluate" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "x", "--temperature", "-1"],
        ["evaluate", "x", "--temperature", "nan"],
        ["evaluate", "x", "--top-p", "0"],
        ["evaluate", "x", "--gpu-memory-share", "2"],
        ["evaluate", "x", "--cpu-kv-cache-gib", "0"],
        ["export", "x", "--out", "y", "--gpu-memory-share", "85"],
        ["export", "x", "--out", "y", "--tolerance", "5"],
        ["export", "x", "--out", "y", "--tolerance", "nan"],
    ],
)
def test_a_number_that_the_engine_would_refuse_is_refused_at_once(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(words)
    assert f"argument {words[-2]}: '{words[-1]}' is not " in capsys.readouterr().err


def test_a_second_file_of_answers_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The first one was left out without a word."""
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--answers", "a.jsonl", "--answers", "b.jsonl", "--suite", "humaneval"])
    assert "--answers takes one file; give each a command of its own" in capsys.readouterr().err


def test_ctrl_c_ends_the_shells_loop_too(tmp_path: Path) -> None:
    """A shell goes on after any exit status, and ends where its command was ended by the signal."""
    (tmp_path / "one.py").write_text(
        "import os, signal, sys, time\nfrom azr import cli, start\n"
        "def interrupted(name, words):\n"
        "    try:\n        os.killpg(0, signal.SIGINT)\n        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n        return cli.INTERRUPTED\n"
        "cli.run_command = interrupted\nstart.start('report')\n"
    )
    loop = f'for n in 1 2 3; do echo "began $n"; "{sys.executable}" "{tmp_path}/one.py"; done; echo after'
    child = subprocess.Popen(
        ["bash", "-c", loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**BARE, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    out, said = child.communicate(timeout=60)
    assert (out, said, child.returncode) == ("began 1\n", "", -signal.SIGINT)


def test_a_link_to_a_disk_that_is_not_mounted_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").symlink_to(tmp_path / "disk" / "runs")
    monkeypatch.chdir(tmp_path)
    for words in (
        ["watch", "runs/x"],
        ["report", "runs/x"],
        ["evaluate", "runs/x@0", "runs/x@best"],
        ["export", "runs/x", "--out", "model"],
        ["export", "x", "--out=runs/model"],
        ["move-run", "pack", "x", "runs/x.zip"],
        ["run", "recipe=cpu_tiny", "runs_dir=runs", "name=x"],
    ):
        assert cli.main(words) == 2
        told = f"runs is a link to {tmp_path}/disk/runs, which does not exist; is its disk mounted?"
        assert told in capsys.readouterr().err, words
    assert not (tmp_path / "disk").exists()


def test_the_pipeline_needs_no_installation_and_a_script_says_so(tmp_path: Path) -> None:
    shown = run(
        sys.executable, ROOT / "azr_single_gpu_pipeline.py", "--cfg", "job", "recipe=cpu_tiny", cwd=tmp_path
    )
    assert shown.returncode == 0 and "recipe: cpu_tiny" in shown.stdout, shown.stderr
    folder = tmp_path / "a clone"
    (folder / "scripts").mkdir(parents=True)
    for name in ("_command.py", "watch.py"):
        shutil.copyfile(ROOT / "scripts" / name, folder / "scripts" / name)
    # -S: nothing is installed
    done = run(sys.executable, "-S", folder / "scripts" / "watch.py", "x", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        f"watch: azr is not installed for {sys.executable}" in done.stderr and f"-e '{folder}'" in done.stderr
    )
    # what a run advises there, which was the script; with an installation it is
    for isolated, told in (("-S", "python -m azr watch"), ("-s", "python scripts/watch.py")):
        done = run(
            sys.executable, isolated, "-c", "from azr.commands import command; print(command('watch'))"
        )
        assert done.stdout.strip() == told, done.stderr


def test_an_editable_installation_in_a_folder_with_a_blank(tmp_path: Path) -> None:
    project, environment, elsewhere = (
        tmp_path / "My Projects (x)" / "azr",
        tmp_path / "environment",
        tmp_path / "else where",
    )
    for name in ("azr", "configs", "scripts"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "dev"))
    (project / "data").symlink_to(ROOT / "data")
    for name in ("pyproject.toml", "azr_single_gpu_pipeline.py"):
        shutil.copyfile(ROOT / name, project / name)
    elsewhere.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    [packages] = (environment / "lib").glob("python*/site-packages")
    (packages / "parent.pth").write_text("".join(f"{folder}\n" for folder in site.getsitepackages()))
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--editable",
        project,
    ]
    installed = run(*command, cwd=elsewhere, PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert installed.returncode == 0, installed.stderr
    azr = environment / "bin" / "azr"
    for words in (
        [azr, "run", "--cfg", "job"],
        [python, project / "azr_single_gpu_pipeline.py", "--cfg", "job"],
    ):
        shown = run(*words, "recipe=cpu_tiny", cwd=elsewhere)
        assert shown.returncode == 0 and "data/models/azr-tiny" in shown.stdout, shown.stderr
    for words in ([azr, "preflight"], [python, project / "scripts" / "preflight.py"]):
        fits = run(*words, "recipe=cpu_tiny", cwd=elsewhere)
        assert "billion parameters" in fits.stdout, fits.stderr
    place = run(python, "-c", "import azr; print(azr.__file__)", cwd=elsewhere)
    assert Path(place.stdout.strip()).is_relative_to(project), (
        "Ray's workers and the trainer import this tree"
    )


def test_a_disk_without_room_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    problems = tmp_path / "mbpp.jsonl"
    problems.write_text(
        '{"task_id": 1, "text": "t", "code": "def f(x):\\n    return x + 1", "test_list": ["assert f(1) == 2"]}\n'
    )
    command = (
        f'ulimit -f 0; exec "{sys.executable}" -B -m azr convert-problems "{problems}" "{tmp_path}/out.jsonl"'
    )
    done = run("bash", "-c", command, PYTHONPATH=str(ROOT))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert (
        "convert-problems: File too large; nothing was finished: make room (df, df -i, quota, ulimit -f)"
        in done.stderr
    )
    assert list(tmp_path.iterdir()) == [problems]
    done = run(
        sys.executable,
        "-m",
        "azr",
        "convert-problems",
        str(problems),
        str(problems / "out.jsonl"),
        PYTHONPATH=str(ROOT),
    )
    told = f"convert-problems: {problems} is a file, and a folder is needed there\n"
    assert (done.returncode, done.stderr) == (2, told)


def test_a_run_that_may_not_be_written_gets_its_report_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, make = tmp_path / "run", tempfile.mkstemp
    run.mkdir()

    def mkstemp(*, dir: Path, prefix: str, suffix: str) -> tuple[int, str]:  # root may write everywhere
        if Path(dir) == tmp_path / "out":
            return make(dir=dir, prefix=prefix, suffix=suffix)
        raise PermissionError(13, "Permission denied", f"{dir}/{prefix}abcd_f12{suffix}")

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)
    assert cli.run_command("report", [str(run), "--output", str(run / "r.html")]) == 2
    assert capsys.readouterr().err == f"report: {run}/r.html: Permission denied\n"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cli.run_command("report", [str(run)]) == 2
    assert "cannot be written by this user; name another place: --output FILE" in capsys.readouterr().err
    assert cli.run_command("report", [str(run), "--output", str(tmp_path / "out" / "r.html")]) == 0


def test_what_is_nearly_a_run_is_told_which_run_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's name without its folder, a file in it, ``RUN@best`` where only evaluate takes one, swapped words."""
    run = tmp_path / "runs" / "mine"
    (run / "checkpoints" / "step_00000002").mkdir(parents=True)
    for name in ("config.yaml", "state.json", "report.html"):
        (run / name).touch()
    monkeypatch.chdir(tmp_path)
    step = "runs/mine/checkpoints/step_00000002"
    for words, told in (
        (["watch", "mine", "--once"], "give runs/mine"),
        (["report", "runs/mine/report.html"], "give runs/mine"),
        (["control", "mine", "status"], f"give {run}"),
        (["control", "status", "runs/mine"], "the run comes first: azr control runs/mine status"),
        (["control", "stop"], "the run is missing: azr control runs/NAME stop"),
        (["control", "budget", "3"], "the run is missing: azr control runs/NAME budget 3"),
        (["control", "runs/mine", "budget", "+2"], "the hours of the whole campaign"),
        (["evaluate", "mine@best"], "give runs/mine"),
        (["export", "runs/mine@best", "--out", "o"], "give runs/mine, and the checkpoint as --step best"),
        (["export", "runs/mine/checkpoints/step_00000002", "--out", "o"], "give runs/mine"),
        (["export", "runs/mine", "my-model"], "the folder to write is given as --out my-model"),
        (["export", "runs/mine", "-o", "my-model"], "the folder to write is given as --out my-model"),
        (["export", "runs/mine", "--push-to-hub", "org/m"], "then `hf upload ORG/NAME my-model`"),
        (["move-run", "pack", "mine", "o.zip"], f"give {run}"),
        (["report", "other"], "give a run directory, such as runs/NAME"),
        (["export", "runs/mine", "--tasks", "--out", f"{step}/tasks"], "would be removed with it"),
        (["report", "runs/mine", f"--output={step}/r.html"], "is in a checkpoint's folder"),
        (["evaluate", "runs/mine", "--out", step], "would be removed with it; name another place"),
    ):
        assert cli.run_command(words[0], words[1:]) == 2
        assert told in capsys.readouterr().err, words
    kept = "kept/checkpoints/step_00000002/r.html"
    assert cli.place_to_write(kept) == Path(kept), "a copy, which no run removes"


def test_outputs_that_cannot_be_written_so_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.run_command("evaluate", [str(tmp_path), "--out", str(tmp_path / "file")]) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.run_command("preflight", ["--speed", "--json"])
    assert "--speed has no JSON" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["preflight", "doctor", "run"])
def test_a_setting_among_the_options_is_taken_or_told_how_it_is_written(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The parser said only "unrecognized arguments"."""
    assert cli.run_command(name, ["recipe=cpu_tiny", "--seed", "2"]) == 2
    assert "settings have no dashes; write seed=2\n" in capsys.readouterr().err
    if name == "preflight":
        assert cli.run_command(name, ["recipe=cpu_tiny", "--json", "seed=2"]) == 0


@pytest.mark.parametrize(
    ("typed", "meant"), [("stop", "azr control RUN stop"), ("train", "azr run"), ("help", "azr --help")]
)
def test_a_command_as_other_tools_call_it_is_answered_with_the_one_that_is_meant(typed, meant, capsys):
    assert cli.main([typed]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_a_report_is_not_written_under_the_name_of_another_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.PDF"
    assert cli.run_command("report", [str(tmp_path), "--output", str(page)]) == 2
    assert f"write {page.with_suffix('.html')}" in capsys.readouterr().err and not page.exists()
