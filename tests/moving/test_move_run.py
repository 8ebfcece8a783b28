"""A run packed and unpacked: what travels, what is refused, and that nothing is ever written over or by
halves."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moving_helpers import make_model, make_run, rewrite, save_checkpoint

from azr.campaign.control import lock_run
from azr.campaign.state import read_state_file
from azr.cli.control import obey
from azr.config.load import load_config, read_config, write_config
from azr.config.paths import runs_folder
from azr.errors import AzrError, DataError, ModelError, RunError
from azr.moving.archive import CONTENT, MANIFEST, path_problem
from azr.moving.pack import PackOptions, archive_file, pack_run
from azr.moving.unpack import resume_command, unpack_run
from azr.run.checkpoints import latest_verified_checkpoint, list_checkpoints
from azr.run.rundir import RunDir
from azr.system.files import file_hash, read_jsonl

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, Path, Path]:
    """A run, its archive and its model."""
    root = tmp_path_factory.mktemp("packed")
    model = make_model(root / "model")
    run = make_run(root / "runs" / "first", model)
    return run, pack_run(run.root, root / "first.zip", PackOptions(), print), model


def contents(root: Path) -> dict[str, str]:
    """Files with their hashes; of the state, the part that travels."""
    hashes = {
        path.relative_to(root).as_posix(): file_hash(path) for path in root.rglob("*") if path.is_file()
    }
    if "state.json" in hashes:
        state = read_state_file(root / "state.json")
        hashes["state.json"] = repr(replace(state, run_id="", folder=None, driver=None))
    return hashes


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def test_what_a_resume_needs_travels_and_nothing_else(packed: Any, tmp_path: Path) -> None:
    run, archive, _ = packed
    before = contents(run.root)
    there = unpack_run(archive, tmp_path / "runs" / "second", say=print)
    found = contents(there.root)
    assert found.items() <= before.items()
    left = set(before) - set(found)
    assert {path.split("/")[0] for path in left if not path.startswith("checkpoints/step_00000002/")} == {
        "heartbeat.json", "report.html", "pool", "run.lock",
    }  # fmt: skip
    assert {"pool/backups/001/tasks.jsonl"} == {path for path in left if path.startswith("pool")}
    checkpoint = latest_verified_checkpoint(there)
    assert checkpoint is not None and checkpoint.step == 4 and len(list_checkpoints(there)) == 1
    state, before_it = read_state_file(there.state), read_state_file(run.state)
    assert before_it.run_id and not state.run_id, "the run that was packed may go on: the two are two"
    assert state.updated_unix_s == before_it.updated_unix_s


def test_what_file_managers_leave_everywhere_does_not_travel(packed: Any, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    shutil.copytree(packed[0].root, run.root)
    for folder in [run.root, *(path for path in run.root.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.jsonl"):
            (folder / name).write_bytes(b"x")
    pack_run(run.root, tmp_path / "a.zip", PackOptions())
    assert contents(unpack_run(tmp_path / "a.zip", tmp_path / "there").root) == contents(
        unpack_run(packed[1], tmp_path / "plain").root
    )


def test_folders_that_were_moved_to_a_larger_disk_and_linked_travel(packed: Any, tmp_path: Path) -> None:
    """Checkpoints, shards and tasks of the cycles were left out without a word; the run had nothing to go on from."""
    run = RunDir(tmp_path / "run")
    shutil.copytree(packed[0].root, run.root)
    for name in ("checkpoints", "cycles"):
        (run.root / name).rename(tmp_path / name)
        (run.root / name).symlink_to(tmp_path / name)
    (run.cycle(1) / "up").symlink_to(run.root)  # no way out of a circle
    (tmp_path / "checkpoints").rename(run.root / "ckpt")  # the real folder in the run too, under another name
    (run.root / "checkpoints").unlink()
    (run.root / "checkpoints").symlink_to("ckpt")
    said: list[str] = []
    pack_run(run.root, tmp_path / "a.zip", PackOptions(), say=said.append)
    assert f"{run.root / 'cycles'} is a link: packed from {tmp_path / 'cycles'}" in said
    assert contents(unpack_run(tmp_path / "a.zip", tmp_path / "there").root) == contents(
        unpack_run(packed[1], tmp_path / "plain").root
    )


def test_what_the_owner_made_and_does_not_travel_is_named(packed: Any, tmp_path: Path) -> None:
    """The command that unpack printed was refused, for a recipe and a frame of which it had not said a word."""
    run = RunDir(tmp_path / "run")
    shutil.copytree(packed[0].root, run.root)
    config = read_config(run.config)
    frame = tmp_path / "frame"
    write_config(
        run.config, replace(config, recipe="mine", selfplay=replace(config.selfplay, frame=str(frame)))
    )
    pack_run(run.root, tmp_path / "a.zip", PackOptions())
    said: list[str] = []
    unpack_run(tmp_path / "a.zip", tmp_path / "there", say=said.append)
    assert any("Its recipe mine is not here; copy configs/recipe/mine.yaml" in line for line in said)
    assert any(f"Its prompt frame {frame} is not here; copy that folder" in line for line in said)


def test_what_people_put_into_the_run_is_said_to_stay(packed: Any, tmp_path: Path) -> None:
    """An exported model in the run's folder, and its evaluations, stayed behind without a word."""
    run = RunDir(tmp_path / "run")
    shutil.copytree(packed[0].root, run.root)
    for name in (
        "my-model/model.safetensors",
        "checkpoints/best/config.json",
        "evaluations/a.jsonl",
        "notes",
        "cycles/001/tasks/train.parquet",
        "pool/r.html",
    ):
        (run.root / name).parent.mkdir(exist_ok=True)
        (run.root / name).write_bytes(bytes(300 << 10))
    for name in (
        "tensorboard/events",
        "state.previous.json",
        "control/stop",
        "checkpoints/damaged-step_00000003/x",
        ".git/config",
    ):
        (run.root / name).parent.mkdir(exist_ok=True)
        (run.root / name).write_bytes(b"x")
    said: list[str] = []
    pack_run(run.root, tmp_path / "a.zip", PackOptions(), say=said.append)
    told = [line.removeprefix("Left out: all of ") for line in said if line.startswith("Left out")]
    assert [line.partition(", which is no part of the run")[0] for line in told] == [
        "checkpoints/best (0.29 MiB)", "cycles/001/tasks (0.29 MiB)", "evaluations (0.29 MiB)", "my-model (0.29 MiB)",
        "notes (0.29 MiB)", "pool/r.html (0.29 MiB)",
    ]  # fmt: skip
    unpack_run(tmp_path / "a.zip", tmp_path / "there", say=said.append)
    assert any(line.startswith("Not in the archive: all of my-model") for line in said)


def test_every_checkpoint_travels_where_that_is_asked(packed: Any, tmp_path: Path) -> None:
    run, _, _ = packed
    pack_run(run.root, tmp_path / "all.zip", PackOptions(every_checkpoint=True))
    assert [item.step for item in list_checkpoints(unpack_run(tmp_path / "all.zip", tmp_path / "there"))] == [
        2,
        4,
    ]


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(packed: Any, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    shutil.copytree(packed[0].root, run.root)
    with open(run.checkpoint(4) / "trainer_state.json", "a") as file:
        file.write(" ")
    said: list[str] = []
    pack_run(run.root, tmp_path / "a.zip", PackOptions(), said.append)
    assert said[0].startswith("step_00000004 cannot be used and was passed over: "), said
    assert [item.step for item in list_checkpoints(unpack_run(tmp_path / "a.zip", tmp_path / "there"))] == [2]
    (run.checkpoint(2) / "trainer_state.json").unlink()
    with pytest.raises(RunError, match=r"no sound checkpoint to resume from: step_00000004 cannot be used"):
        pack_run(run.root, tmp_path / "b.zip", PackOptions())
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError, match="holds no checkpoint, although it has saved step 4"):
        pack_run(run.root, tmp_path / "b.zip", PackOptions())
    assert not (tmp_path / "b.zip").exists()


def test_logs_give_way_to_the_limit_and_it_is_said(packed: Any, tmp_path: Path) -> None:
    run, archive, _ = packed
    said: list[str] = []
    limit = 0.6 * archive.stat().st_size / 2**20
    small = pack_run(run.root, tmp_path / "small.zip", PackOptions(limit_mib=limit), said.append)
    assert small.stat().st_size <= limit * 2**20
    assert all(line.startswith("Left out: all") for line in said[:-1]) and any(
        "trainer.log" in line for line in said
    )
    heard: list[str] = []
    there = unpack_run(small, tmp_path / "there", say=heard.append)
    assert any("Not in the archive: all" in line for line in heard)
    kept = [record["number"] for record in read_jsonl(there.transcripts(1), strict=True)]
    assert kept == list(range(2000))[-len(kept) :] if kept else True, "whole lines, the last ones"
    with pytest.raises(RunError, match=r"needs to resume takes .* above --limit-mib 0.001"):
        pack_run(run.root, tmp_path / "none.zip", PackOptions(limit_mib=0.001))
    assert not (tmp_path / "none.zip").exists() and [path.name for path in tmp_path.glob(".*")] == []


def test_nothing_is_overwritten_and_nobody_disturbed(packed: Any, tmp_path: Path) -> None:
    run, archive, _ = packed
    (tmp_path / "there").mkdir()
    for target in (tmp_path / "there", run.root):
        before = contents(target)
        with pytest.raises(RunError, match="never overwrites a run"):
            unpack_run(archive, target)
        assert contents(target) == before
    with pytest.raises(RunError, match="is itself a run"):  # the command that it printed was refused
        unpack_run(archive, run.root / "inner")
    with pytest.raises(RunError, match="exists"):
        pack_run(run.root, archive, PackOptions())
    lock = lock_run(run)
    try:
        # nor is a run that somebody packs called one that a driver works on, which could be stopped
        with pytest.raises(RunError, match=r"another command is using .*; try again once it has ended"):
            pack_run(run.root, tmp_path / "busy.zip", PackOptions())
        with pytest.raises(RunError, match="no driver is running"):
            obey(run, "stop", None)
    finally:
        lock.release()
    with pytest.raises(RunError, match="not a run that has begun"):
        pack_run(tmp_path, tmp_path / "no.zip", PackOptions())


def test_the_archive_goes_into_a_folder_that_is_named_and_never_into_the_run(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = packed
    (tmp_path / "backup").mkdir()
    name = f"{run.root.name}.azr.zip"
    assert archive_file(run.root, str(tmp_path / "backup")) == tmp_path / "backup" / name
    assert archive_file(run.root, str(tmp_path / "new") + "/") == tmp_path / "new" / name
    assert archive_file(run.root, str(tmp_path / "file.zip")) == tmp_path / "file.zip"
    for other in ("my.tar.gz", "my.7Z"):  # `tar xzf` found no archive there
        with pytest.raises(RunError, match=r"packed as a ZIP file, .* call it my\.azr\.zip"):
            archive_file(run.root, str(tmp_path / other))
    monkeypatch.chdir(run.root.parent)
    (tmp_path / "link").symlink_to(run.root)
    for out in (".", str(run.root), "first/pool/x.zip", str(tmp_path / "link" / "x.zip")):
        file = archive_file(run.root, out)
        if out == ".":
            assert pack_run(run.root, file, PackOptions()).is_file()
            file.unlink()
            continue
        before = contents(run.root)
        with pytest.raises(RunError, match=rf"inside the run itself.*{run.root}\.azr\.zip"):
            pack_run(run.root, file, PackOptions())
        assert contents(run.root) == before


def test_a_relative_model_is_found_from_every_folder(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, archive, model = packed
    shutil.copytree(model, tmp_path / "work" / "models" / "qwen")
    monkeypatch.chdir(tmp_path / "work")
    there = unpack_run(archive, tmp_path / "runs" / "run", model="models/qwen")
    assert read_config(there.config).model.path == str(tmp_path / "work" / "models" / "qwen")


def test_the_command_to_go_on_is_for_the_folder_where_it_is_read(
    packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, archive, _ = packed
    monkeypatch.chdir(tmp_path)
    there = unpack_run(archive, tmp_path / "runs" / "run")  # not the project's folder of that name
    words = shlex.split(resume_command(read_config(there.config), there.root))
    assert Path(words[1]) == PROJECT / "azr_single_gpu_pipeline.py"
    assert runs_folder(load_config(words[2:]).config) == tmp_path / "runs"


def test_the_model_is_known_by_its_content(packed: Any, tmp_path: Path) -> None:
    _, archive, model = packed
    moved = tmp_path / "elsewhere" / "model"
    shutil.copytree(model, moved)
    there = unpack_run(archive, tmp_path / "a" / "run", model=str(moved))
    assert read_config(there.config).model.path == str(moved)
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match="holds another model"):
        unpack_run(archive, tmp_path / "b" / "run", model=str(other))
    with pytest.raises(ModelError, match="no such model folder"):
        unpack_run(archive, tmp_path / "b" / "run", model=str(tmp_path / "nowhere"))
    assert nothing_left(tmp_path / "b")


def test_a_model_that_is_not_here_may_follow_later(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")
    run = make_run(tmp_path / "run", model, (1,))
    archive = pack_run(run.root, tmp_path / "a.zip", PackOptions())
    shutil.rmtree(model)
    said: list[str] = []
    unpack_run(archive, tmp_path / "there", say=said.append)
    assert any("is not here. Copy it here" in line for line in said)


def test_adapters_saved_with_their_base_do_not_travel(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_model(tmp_path / "model"), (1,), cards=2)
    with pytest.raises(RunError, match="hold the whole frozen model beside them"):
        pack_run(run.root, tmp_path / "a.zip", PackOptions())
    full = make_run(tmp_path / "full", make_model(tmp_path / "model2"), (1,), cards=2, lora_rank=0)
    pack_run(full.root, tmp_path / "b.zip", PackOptions())


def test_the_archive_of_a_1_5b_model_with_adapters_is_small(tmp_path: Path) -> None:
    """Rank 8 on the seven matrices of its 28 layers; of each trained parameter 2 bytes of bfloat16 and 2 of
    states. Random bytes do not get smaller, so this is the most that it can be; a tokenizer adds 2 to 7 MiB.
    """
    rank, width, keys, inner = 8, 1536, 256, 8960
    shapes = [
        (width, width),
        (width, keys),
        (width, keys),
        (width, width),
        *[(width, inner)] * 2,
        (inner, width),
    ]
    weights = {
        f"base_model.model.model.layers.{layer}.matrix{number}.lora_{half}.default.weight": torch.randn(
            *shape
        ).bfloat16()
        for layer in range(28)
        for number, (into, out) in enumerate(shapes)
        for half, shape in (("A", (rank, into)), ("B", (out, rank)))
    }
    trained = sum(weight.numel() for weight in weights.values())
    assert trained == 9_232_384
    states = {
        "first": torch.randint(-127, 128, (trained,), dtype=torch.int8),
        "second": torch.randint(0, 256, (trained,), dtype=torch.uint8),
        "first_scale": torch.rand(trained // 256),
        "second_scale": torch.rand(trained // 256),
    }
    run = make_run(tmp_path / "run", make_model(tmp_path / "model"), (1,))
    save_checkpoint(run, 2, model=weights, states={0: states})
    archive = pack_run(run.root, tmp_path / "a.zip", PackOptions(limit_mib=60))
    assert 30 < archive.stat().st_size / 2**20 < 38


def test_the_command_to_go_on_is_the_one_that_began(packed: Any, tmp_path: Path) -> None:
    _, archive, _ = packed
    there = unpack_run(archive, tmp_path / "my runs" / "second")
    config = read_config(there.config)
    words = resume_command(config, there.root)
    again = load_config(shlex.split(words)[2:]).config
    assert again.name == "second" and Path(again.runs_dir) == there.root.parent
    assert (again.model, again.train, again.data, again.seed, again.campaign) == (
        config.model,
        config.train,
        config.data,
        7,
        config.campaign,
    )
    assert "learning_rate" not in words, "what the recipe says already is not repeated"


# ---------------------------------------------------------------------------------------- what is not accepted


def refused(archive: Path, folder: Path, match: str, error: type[AzrError] = DataError) -> None:
    with pytest.raises(error, match=match) as caught:
        unpack_run(archive, folder / "runs" / "victim", say=lambda _: None)
    assert len(str(caught.value)) < 700 and "Traceback" not in str(caught.value)
    assert nothing_left(folder / "runs")


def test_files_of_other_kinds(packed: Any, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip at all")
    (tmp_path / "empty.zip").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as out:
        out.writestr("photo.jpg", b"x")
    refused(tmp_path / "text.zip", tmp_path, "not an archive of a run")
    refused(tmp_path / "empty.zip", tmp_path, "not an archive of a run")
    refused(tmp_path / "plain.zip", tmp_path, "is a ZIP file but holds no packed run")
    refused(tmp_path / "absent.zip", tmp_path, "does not exist")
    refused(tmp_path, tmp_path, "is a folder but holds no packed run")


def test_an_archive_that_a_browser_has_unpacked(packed: Any, tmp_path: Path) -> None:
    archive = packed[1]
    folder = tmp_path / "Downloads" / "first.azr"
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(folder)
    (folder / ".DS_Store").write_bytes(b"x")
    for number, place in enumerate((folder, folder.parent)):
        there = unpack_run(place, tmp_path / f"second-{number}", say=lambda _: None)
        assert contents(there.root) == contents(
            unpack_run(archive, tmp_path / f"third-{number}", say=lambda _: None).root
        )

    tasks = folder / "run" / "pool" / "tasks.jsonl"
    kept = tasks.read_bytes()
    tasks.write_bytes(kept[::-1])
    refused(folder, tmp_path, "is not what the archive's own list says")
    tasks.write_bytes(kept + b"x")
    refused(folder, tmp_path, "has another size than its list says")
    tasks.unlink()
    refused(folder, tmp_path, "what it holds is not what its own list says")
    (tmp_path / "elsewhere").write_bytes(kept)
    tasks.symlink_to(tmp_path / "elsewhere")
    refused(folder, tmp_path, "is a link or no plain file")
    tasks.unlink()
    tasks.write_bytes(kept)
    (tasks.parent / "more.jsonl").write_text("")
    refused(folder, tmp_path, "what it holds is not what its own list says")


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.9999])
def test_cut_short(packed: Any, tmp_path: Path, share: float) -> None:
    data = packed[1].read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: int(share * len(data))])
    refused(tmp_path / "cut.zip", tmp_path, "cut short")


def test_files_that_would_begin_before_the_archive(packed: Any, tmp_path: Path) -> None:
    """A larger offset in the last record; reading a file then failed with OSError, as if the disk were broken."""
    data = bytearray(packed[1].read_bytes())
    offset = int.from_bytes(data[-6:-2], "little")
    data[-6:-2] = (offset + 2 * len(data)).to_bytes(4, "little")
    (tmp_path / "damaged.zip").write_bytes(data)
    refused(tmp_path / "damaged.zip", tmp_path, "its last bytes are damaged")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(
    packed: Any, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    run, archive, _ = packed
    folder = tmp_path_factory.mktemp("flip")
    data = bytearray(archive.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    (folder / "a.zip").write_bytes(data)
    try:
        there = unpack_run(folder / "a.zip", folder / "runs" / "there", say=lambda _: None)
    except AzrError:
        assert nothing_left(folder / "runs")
    else:  # a date, or another byte that nothing reads
        assert contents(there.root).items() <= contents(run.root).items()
    shutil.rmtree(folder)


HOSTILE_NAMES = [
    *(
        "../evil",
        "a/../../evil",
        "/etc/cron.d/evil",
        "./config.yaml",
        "pool//tasks.jsonl",
        "pool/./tasks.jsonl",
        "C:\\evil",
        "a\\b",
    ),
    *(
        "~/evil",
        ".bashrc",
        "probes/\x00",
        "probes/a\nb",
        "probes/-rf",
        "probes/" + "x" * 300,
        "probes/" + "a/" * 20 + "b",
    ),
    *("", ".", "probes/", "probes/..", "cafe\u0301"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_lead_elsewhere(packed: Any, tmp_path: Path, name: str) -> None:
    assert path_problem(name)

    def add(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members[CONTENT + name] = b"x"
        record["files"].append(
            {"path": name, "bytes": 1, "blake2b": hashlib.blake2b(b"x", digest_size=16).hexdigest()}
        )

    refused(rewrite(packed[1], tmp_path / "evil.zip", add), tmp_path, "not accepted|damaged|cut short")
    assert not (tmp_path / "evil").exists() and not (tmp_path.parent / "evil").exists()


@given(st.text())
def test_accepted_names_stay_inside(name: str) -> None:
    if not path_problem(name):
        assert (Path("/base") / name).resolve().is_relative_to("/base") and name == Path(name).as_posix()


@pytest.mark.parametrize(
    "name",
    [
        "control/stop",
        "run.lock",
        "probes/../state.json",
        "runme.sh",
        "cycles/001/attempts/001/stop",
        "tensorboard/x",
    ],
)
def test_files_that_no_resume_needs(packed: Any, tmp_path: Path, name: str) -> None:
    def add(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members[CONTENT + name] = b"x"
        record["files"].append(
            {"path": name, "bytes": 1, "blake2b": hashlib.blake2b(b"x", digest_size=16).hexdigest()}
        )

    refused(rewrite(packed[1], tmp_path / "evil.zip", add), tmp_path, "not accepted")


@pytest.mark.parametrize(
    "mode",
    [0o120777, 0o020666, 0o060666, 0o010666, 0o040755],
    ids=["link", "device", "disk", "pipe", "folder"],
)
def test_members_that_are_no_plain_files(packed: Any, tmp_path: Path, mode: int) -> None:
    target = tmp_path / "evil.zip"
    with zipfile.ZipFile(packed[1]) as source, zipfile.ZipFile(target, "w") as out:
        for item in source.infolist():
            if item.filename == CONTENT + "metrics.jsonl":
                item.external_attr = mode << 16
            out.writestr(item, source.read(item.filename))
    refused(target, tmp_path, "link or no plain file")


def test_bombs(packed: Any, tmp_path: Path) -> None:
    def grow(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members[CONTENT + "metrics.jsonl"] = b"0" * (80 << 20)
        for item in record["files"]:
            if item["path"] == "metrics.jsonl":
                item["bytes"] = 80 << 20

    refused(rewrite(packed[1], tmp_path / "bomb.zip", grow), tmp_path, "would grow to")

    def lie(members: dict[str, bytes], record: dict[str, Any]) -> None:
        record["files"][0]["bytes"] += 5

    refused(rewrite(packed[1], tmp_path / "lie.zip", lie), tmp_path, "another size")

    def huge(members: dict[str, bytes], record: dict[str, Any]) -> None:
        record["files"][0]["bytes"] = 10**400

    refused(rewrite(packed[1], tmp_path / "huge.zip", huge), tmp_path, "another size|damaged")


def test_lists_that_do_not_fit(packed: Any, tmp_path: Path) -> None:
    def twice(members: dict[str, bytes], record: dict[str, Any]) -> None:
        record["files"].append(record["files"][0])

    def missing(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members.pop(CONTENT + "state.json")

    def stranger(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members["extra"] = b"x"

    def without_state(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members.pop(CONTENT + "state.json")
        record["files"] = [item for item in record["files"] if item["path"] != "state.json"]

    def inside(members: dict[str, bytes], record: dict[str, Any]) -> None:
        members[CONTENT + "config.yaml/tasks"] = b""
        record["files"].append({"path": "config.yaml/tasks", "bytes": 0, "blake2b": ""})

    def later(members: dict[str, bytes], record: dict[str, Any]) -> None:
        record["format"] = 2

    def other(members: dict[str, bytes], record: dict[str, Any]) -> None:
        record["kind"] = "azr tasks"

    changes = {
        twice: "one name",
        missing: "own list",
        stranger: "own list",
        without_state: "state.json is not in it",
    }
    changes |= {inside: "inside another file", later: "format 2", other: "damaged"}
    for change, match in changes.items():
        refused(rewrite(packed[1], tmp_path / f"{change.__name__}.zip", change), tmp_path, match)


def test_content_that_is_not_what_the_list_says(packed: Any, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], record: dict[str, Any]) -> None:
        data = members[CONTENT + "metrics.jsonl"]
        members[CONTENT + "metrics.jsonl"] = data.replace(b"0.5", b"0.6")

    refused(
        rewrite(packed[1], tmp_path / "a.zip", change),
        tmp_path,
        r"metrics.jsonl is not what the archive's own list says",
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["kind", "format", "info", "files", "checksum", "path"]), inner)
        ),
        max_leaves=8,
    )
)
def test_no_list_ends_in_a_traceback(
    packed: Any, tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    with zipfile.ZipFile(folder / "a.zip", "w") as out:
        out.writestr(MANIFEST, json.dumps(value))
    with pytest.raises(DataError):
        unpack_run(folder / "a.zip", folder / "runs" / "there")
    assert nothing_left(folder / "runs")
    shutil.rmtree(folder)


class Evil:
    def __reduce__(self) -> Any:
        return (eval, ("open('/tmp/never', 'w')",))


def test_a_checkpoint_that_would_run_something(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_model(tmp_path / "model"), (1,), lora_rank=0)
    save_checkpoint(run, 2, model={"weight": torch.zeros(2), "evil": Evil()})
    archive = pack_run(run.root, tmp_path / "a.zip", PackOptions())
    refused(archive, tmp_path, r"would call or build .*eval")
    unpack_run(archive, tmp_path / "mine", trust=True)


def test_a_manifest_of_the_checkpoint_that_does_not_fit(packed: Any, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], record: dict[str, Any]) -> None:
        path = "checkpoints/step_00000004/trainer_state.json"
        members[CONTENT + path] = b"{}"
        for item in record["files"]:
            if item["path"] == path:
                item |= {"bytes": 2, "blake2b": hashlib.blake2b(b"{}", digest_size=16).hexdigest()}

    refused(rewrite(packed[1], tmp_path / "a.zip", change), tmp_path, "its manifest says")


def test_a_full_disk_leaves_nothing(packed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from azr.moving import unpack
    from azr.moving.archive import ArchiveReader

    monkeypatch.setattr(unpack, "free_gib", lambda _: 0.1)
    refused(packed[1], tmp_path, "free, but the run takes", RunError)
    monkeypatch.undo()
    extract = ArchiveReader.extract

    def fills_up(self: ArchiveReader, entry: Any, target: Path) -> None:
        if "optim" in entry.path:
            raise OSError(28, "No space left on device")
        extract(self, entry, target)

    monkeypatch.setattr(ArchiveReader, "extract", fills_up)
    refused(packed[1], tmp_path, "the disk of .* is full", RunError)


def test_the_command_line(packed: Any, tmp_path: Path) -> None:
    run, _, _ = packed

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "scripts/move_run.py", *words],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=120,
        )

    done = call("pack", str(run.root), str(tmp_path / "a.zip"), "--limit-mib", "60")
    assert done.returncode == 0 and "step 4 of first" in done.stdout
    done = call("unpack", str(tmp_path / "a.zip"), str(tmp_path / "runs" / "there"))
    assert (
        done.returncode == 0
        and "Resume with: python azr_single_gpu_pipeline.py recipe=cpu_tiny" in done.stdout
    )
    done = call("unpack", str(tmp_path / "a.zip"), str(tmp_path / "runs" / "there"))
    assert done.returncode == 2 and done.stderr.startswith("move-run: ") and "Traceback" not in done.stderr
    done = call("pack", str(run.root), str(tmp_path / "b.zip"), "--limit-mib", "nan")
    assert done.returncode == 2 and "not a number above 0" in done.stderr
