"""Relative paths of the user's files: looked for where the command was started, then in the project, and
named when they are nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from azr.cli import run_command
from azr.config import paths
from azr.config.load import load_config, read_config, write_config
from azr.config.paths import PROJECT, WORDS, runs_folder
from azr.data.check import require_readable
from azr.errors import ConfigError, DataError, ModelError
from azr.prompts import SHIPPED_FRAMES, load_frame
from azr.run.rundir import RunDir
from azr.train.model_source import local_model_folder

TINY = "data/models/azr-tiny"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_users_file_beside_the_command(elsewhere: Path) -> None:
    (elsewhere / "my.jsonl").write_text("{}\n")
    (elsewhere / "frame").mkdir()
    config = load_config(
        ["recipe=cpu_tiny", "data.extra_files=[my.jsonl]", "selfplay.frame=frame", "data.seeds=my.jsonl"]
    ).config
    assert config.data.extra_files == [str(elsewhere / "my.jsonl")]
    assert config.selfplay.frame == str(elsewhere / "frame") and config.data.seeds == str(
        elsewhere / "my.jsonl"
    )


def test_a_run_whose_folder_came_from_a_mac_is_found(tmp_path: Path) -> None:
    """Its name is spelt with u and a mark there; one that was typed began a new run."""
    typed, on_a_mac = "Gr\u00fc\u00dfe", "Gru\u0308\u00dfe"
    (tmp_path / on_a_mac).mkdir()
    settings = ["recipe=cpu_tiny", f"runs_dir={tmp_path}", f"name={typed}"]
    assert load_config(settings).config.name == on_a_mac
    (tmp_path / typed).mkdir()
    assert load_config(settings).config.name == typed


def test_a_run_on_a_disk_that_knows_no_case_keeps_its_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """exFAT, /mnt/c: ``friday`` was called a copy of ``Friday``, the one folder that there is."""
    (tmp_path / "Friday").mkdir()
    settings = ["recipe=cpu_tiny", f"runs_dir={tmp_path}", "name=friday"]
    assert load_config(settings).config.name == "friday", "another run, where case counts"
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path == tmp_path / "friday" or exists(path))
    assert load_config(settings).config.name == "Friday"


def test_a_run_finds_them_again_from_another_folder(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (elsewhere / "my.jsonl").write_text("{}\n")
    write_config(
        tmp_path / "config.yaml",
        load_config(["recipe=cpu_tiny", "data.evaluation_files=[my.jsonl]", "model.path=" + TINY]).config,
    )
    monkeypatch.chdir(PROJECT)
    config = read_config(tmp_path / "config.yaml")
    assert Path(config.data.evaluation_files[0]).is_file()
    assert config.model.path == TINY, (
        "what ships with the project has its short name, so that a run can be moved with it"
    )


def test_shipped_files_are_found_from_anywhere(elsewhere: Path) -> None:
    config = load_config(["recipe=cpu_tiny"]).config
    require_readable(config.data, RunDir(elsewhere / "run"))
    assert local_model_folder(config.model.path) == PROJECT / TINY


def test_the_projects_own_settings_mean_the_projects_files(elsewhere: Path) -> None:
    """A folder of the same name beside the command does not stand in for what a recipe names; for what was
    typed it does."""
    other = elsewhere / TINY
    other.mkdir(parents=True)
    assert load_config(["recipe=cpu_tiny"]).config.model.path == str(PROJECT / TINY)
    assert load_config(["recipe=cpu_tiny", f"model.path={TINY}"]).config.model.path == str(other)


@pytest.mark.parametrize(("key", "words"), WORDS.items())
def test_words_are_no_paths(elsewhere: Path, key: str, words: tuple[str, ...]) -> None:
    section, _, name = key.partition(".")
    for word in words:
        (elsewhere / word).mkdir()
        value = getattr(
            getattr(
                load_config(
                    [
                        "recipe=cpu_tiny",
                        f"{key}={[word] if key == 'data.probe_files' else word}",
                        "data.extra_files=[x]",
                    ]
                ).config,
                section,
            ),
            name,
        )
        assert value in (word, [word])


def test_all_frames_that_ship_are_words() -> None:
    assert set(WORDS["selfplay.frame"]) == set(SHIPPED_FRAMES)


def test_what_is_nowhere_is_named_with_both_places(elsewhere: Path) -> None:
    config = load_config(
        ["recipe=cpu_tiny", "data.extra_files=[gone.jsonl]", "data.other_runs=[runs/gone]"]
    ).config
    with pytest.raises(DataError) as error:
        require_readable(config.data, RunDir(elsewhere / "run"))
    both = f"(looked for in {elsewhere} and in {PROJECT})"
    assert str(error.value).count(both) == 2
    with pytest.raises(ModelError, match="no such folder"):
        local_model_folder("./gone")
    with pytest.raises(ConfigError, match=str(PROJECT)):
        load_frame("gone")


def test_runs_lie_in_the_project_unless_another_folder_is_typed(elsewhere: Path) -> None:
    assert runs_folder(load_config(["recipe=cpu_tiny"]).config) == PROJECT / "runs"
    assert runs_folder(load_config(["recipe=cpu_tiny", "runs_dir=mine"]).config) == elsewhere / "mine"
    assert runs_folder(load_config(["recipe=cpu_tiny", "runs_dir=/a/b"]).config) == Path("/a/b")


@pytest.mark.parametrize("folder", ["the project", "another", "through a link"])
@pytest.mark.parametrize("given", ["left out", "relative", "absolute"])
def test_a_run_keeps_its_recipe_wherever_the_command_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, given: str
) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    (project / "runs" / "mine").mkdir(parents=True)
    monkeypatch.setattr(paths, "PROJECT", project)
    write_config(project / "runs" / "mine" / "config.yaml", load_config(["recipe=paper_multi_gpu"]).config)
    (tmp_path / "link").symlink_to(project)
    place = {"the project": project, "another": other / "deep", "through a link": tmp_path / "link"}[folder]
    monkeypatch.chdir(place)
    runs = project / "runs"
    typed = {
        "left out": [],
        "relative": [f"runs_dir={os.path.relpath(runs)}"],
        "absolute": [f"runs_dir={runs}"],
    }
    loaded = load_config(["name=mine", *typed[given]])
    assert loaded.config.recipe == "paper_multi_gpu" and "mine began with it" in loaded.recipe_reason
    assert runs_folder(loaded.config).resolve() == runs


def test_commands_find_a_run_of_the_project_from_elsewhere(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "state.json").write_text("{}")
    for words in (
        ["control", "runs/mine", "stop"],
        ["export", "runs/mine", "--out", "x"],
        ["evaluate", "runs/mine@7"],
        ["move-run", "pack", "runs/mine", "x.zip"],
    ):
        (run / "checkpoints").mkdir(exist_ok=True)
        assert run_command(words[0], words[1:]) == 2
        assert str(run) in capsys.readouterr().err
    (elsewhere / "runs" / "mine").mkdir(parents=True)  # what lies beside the command comes first
    assert run_command("control", ["runs/mine", "stop"]) == 2
    assert str(elsewhere / "runs" / "mine") in capsys.readouterr().err


def test_a_home_of_nobody_is_a_sentence(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["report", "~nobody-here/runs/x"],
        ["export", "~nobody-here/runs/x", "--out", "x"],
        ["run", "runs_dir=~nobody-here/x", "model.path=~nobody-here/model", "recipe=cpu_tiny"],
        ["evaluate", "~nobody-here/model"],
        ["move-run", "unpack", "~nobody-here/a.zip", "x"],
    ):
        assert run_command(words[0], words[1:]) == 2
        assert "~nobody-here" in capsys.readouterr().err


def test_a_home_is_written_out(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(elsewhere))
    assert load_config(["recipe=cpu_tiny", "data.extra_files=['~/my.jsonl']"]).config.data.extra_files == [
        str(elsewhere / "my.jsonl")
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$HOME/m", "{home}/m"),
        ("$HOME/m ", "{home}/m"),
        (" ~/m", "{home}/m"),
        ("Qwen/Qwen2.5-Coder-0.5B ", "Qwen/Qwen2.5-Coder-0.5B"),
        (f"{TINY} ", TINY),
        ("$AZR_NOT_SET/m", "$AZR_NOT_SET/m"),
        ("a$HOME ", "{home}/a$HOME "),  # there is such a file
    ],
)
def test_a_path_is_read_as_a_shell_would_read_it(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    monkeypatch.setenv("HOME", str(elsewhere))
    (elsewhere / "a$HOME ").touch()
    meant = meant.replace("{home}", str(elsewhere))
    config = load_config(
        ["recipe=cpu_tiny", f"model.path={written}", f"runs_dir={written}", f"data.extra_files=['{written}']"]
    ).config
    assert config.model.path == meant and config.data.extra_files == [meant]
    assert config.runs_dir == str(elsewhere / meant)
    assert (
        load_config(["recipe=cpu_tiny", "sandbox.python=~/python"]).config.sandbox.python
        == f"{elsewhere}/python"
    )


def test_a_variable_in_braces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS", "/models")
    with pytest.raises(ConfigError, match=r"model\.path: \$\{MODELS\} is read as .* is written \$MODELS$"):
        load_config(["recipe=cpu_tiny", "model.path=${MODELS}/m"])


def test_the_command_looks_beside_itself(elsewhere: Path) -> None:
    command = [
        sys.executable,
        str(PROJECT / "azr_single_gpu_pipeline.py"),
        "recipe=cpu_tiny",
        f"runs_dir={elsewhere}/runs",
    ]
    answer = subprocess.run(
        [*command, "data.extra_files=[gone.jsonl]"], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert str(elsewhere) in answer.stderr and str(PROJECT) in answer.stderr and "gone.jsonl" in answer.stderr
