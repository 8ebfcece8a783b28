from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.budget.advice import Shortage, fit_refusal, room_for
from azr.campaign.incidents import _is_full
from azr.config import Config
from azr.errors import BudgetError, CheckpointError
from azr.run import checkpoints
from azr.run.checkpoint_store import (
    prune_checkpoints,
    publish_checkpoint,
    reject_checkpoints_after,
    repair_checkpoints,
    require_disk_space,
    staging_dir,
    steps_to_delete,
)
from azr.run.checkpoints import (
    Checkpoint,
    checkpoint_problems,
    latest_verified_checkpoint,
    list_checkpoints,
    read_checkpoint,
)
from azr.run.rundir import RunDir
from azr.system.disks import free_gib
from azr.system.files import read_json


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def publish(run: RunDir, step: int, content: bytes = b"weights") -> Checkpoint:
    staging = staging_dir(run, step)
    (staging / "actor").mkdir()
    (staging / "actor" / "model.pt").write_bytes(content)
    (staging / "buffer.jsonl").write_text("{}\n")
    return publish_checkpoint(run, step, staging, {"cycle": 1, "buffer_hash": "abc"})


def test_published_checkpoint_is_whole_and_latest(run: RunDir) -> None:
    checkpoint = publish(run, 12)
    assert checkpoint.path == run.checkpoint(12) and checkpoint.info == {"cycle": 1, "buffer_hash": "abc"}
    assert checkpoint.total_bytes == len(b"weights") + len("{}\n")
    assert not checkpoint_problems(checkpoint.path) and read_json(run.latest_checkpoint)["step"] == 12
    assert latest_verified_checkpoint(run) == checkpoint
    assert not list(run.checkpoints.glob(".*"))


def test_publishing_the_same_step_again_keeps_the_sound_one_and_replaces_a_damaged_one(run: RunDir) -> None:
    first = publish(run, 3, b"one")
    assert publish(run, 3, b"two") == first
    (first.path / "actor" / "model.pt").write_bytes(b"bad")
    assert publish(run, 3, b"three").total_bytes == len(b"three") + 3
    assert not checkpoint_problems(first.path)


def test_an_empty_checkpoint_is_refused(run: RunDir) -> None:
    with pytest.raises(CheckpointError, match="saved nothing for step 5"):
        publish_checkpoint(run, 5, staging_dir(run, 5))
    assert not run.checkpoint(5).exists()


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_flipped_bit_and_any_cut_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    run = RunDir(tmp_path_factory.mktemp("run"))
    checkpoint = publish(run, 1, bytes(range(256)))
    file = data.draw(st.sampled_from(sorted(path for path in checkpoint.path.rglob("*") if path.is_file())))
    content = bytearray(file.read_bytes())
    position = int(data.draw(st.floats(0, 0.999999)) * len(content))
    if data.draw(st.booleans()):
        content[position] ^= 1 << data.draw(st.integers(0, 7))
    else:
        content = content[:position]
    before = file.read_bytes()
    file.write_bytes(content)
    problems = checkpoint_problems(checkpoint.path)
    # JSON has bytes without meaning (spaces, line ends): a manifest that still says the same is sound.
    if file.name == "manifest.json" and not problems:
        assert json.loads(bytes(content)) == json.loads(before)
    else:
        assert problems and latest_verified_checkpoint(run) is None


def test_a_manifest_cannot_point_outside_its_folder(run: RunDir) -> None:
    from azr.system.hashes import json_hash

    checkpoint = publish(run, 1)
    manifest = read_json(checkpoint.path / "manifest.json")
    manifest.pop("checksum")
    manifest["files"] = {"../../secret": {"bytes": 1, "blake2b": "0"}}
    (checkpoint.path / "manifest.json").write_text(json.dumps(manifest | {"checksum": json_hash(manifest)}))
    assert "outside its folder" in checkpoint_problems(checkpoint.path)[0]


def test_a_renamed_checkpoint_is_found_out(run: RunDir) -> None:
    publish(run, 1).path.rename(run.checkpoint(2))
    assert "holds the checkpoint of step 1" in checkpoint_problems(run.checkpoint(2))[0]


@given(
    st.sets(st.integers(1, 400), max_size=40),
    st.integers(1, 5),
    st.sampled_from([0, 10, 50]),
    st.sets(st.integers(1, 400), max_size=2),
)
@settings(deadline=None, max_examples=200)
def test_retention_keeps_the_last_the_every_nth_and_the_best(
    steps: set[int], keep_last: int, keep_every: int, protected: set[int]
) -> None:
    doomed = set(steps_to_delete(steps, keep_last=keep_last, keep_every=keep_every, protected=protected))
    kept = steps - doomed
    assert kept >= set(sorted(steps)[-keep_last:]) and kept >= (protected & steps)
    assert all(step in kept for step in steps if keep_every and step % keep_every == 0)
    assert all(
        step in set(sorted(steps)[-keep_last:]) | protected or (keep_every and step % keep_every == 0)
        for step in kept
    )
    assert kept or not steps


def test_pruning_never_leaves_less_than_one_verified(run: RunDir) -> None:
    for step in (1, 2, 3):
        publish(run, step)
    (run.checkpoint(3) / "actor" / "model.pt").write_bytes(b"damaged")
    assert prune_checkpoints(run, keep_last=1) == []
    assert latest_verified_checkpoint(run) is not None
    repair_checkpoints(run)
    assert prune_checkpoints(run, keep_last=1) == [1]
    assert [item.step for item in list_checkpoints(run)] == [2]


def test_repair_says_what_it_did_and_finds_nothing_the_second_time(run: RunDir) -> None:
    for step in (1, 2, 3):
        publish(run, step)
    staging_dir(run, 4)
    (run.checkpoint(3) / "buffer.jsonl").write_text("[]\n")
    (run.checkpoint(1) / "buffer.jsonl").unlink()
    sentences = repair_checkpoints(run)
    assert len(sentences) == 4, sentences
    assert (
        "interrupted" in sentences[0]
        and "step_00000003 aside" in sentences[1]
        and "step_00000001 aside" in sentences[2]
    )
    assert sentences[3] == "latest.json pointed to step 3; it now points to step 2."
    assert repair_checkpoints(run) == []
    assert [item.step for item in list_checkpoints(run)] == [2]


def test_rollback_takes_later_checkpoints_out_of_use(run: RunDir) -> None:
    for step in (1, 2, 3):
        publish(run, step)
    assert reject_checkpoints_after(run, 1) == [3, 2]
    assert reject_checkpoints_after(run, 1) == []
    assert [item.step for item in list_checkpoints(run)] == [1] and read_json(run.latest_checkpoint)[
        "step"
    ] == 1
    with pytest.raises(CheckpointError, match="does not exist"):
        reject_checkpoints_after(run, 7)
    assert reject_checkpoints_after(run, 0) == [1] and latest_verified_checkpoint(run) is None


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, number: int, place: str) -> None:
    """``os.NAME`` of what lies under ``place`` ends with that error."""
    real = getattr(os, name)

    def call(path, *rest, **options):
        if place in os.fspath(path):
            raise OSError(number, os.strerror(number), os.fspath(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, name, call)


def test_an_overlay_that_renames_no_folder_of_the_image_is_pruned_repaired_and_rolled_back(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3, 4):
        publish(run, step)
    for name in ("replace", "rename"):
        refuse(monkeypatch, name, errno.EXDEV, "/step_")
    assert prune_checkpoints(run, keep_last=3) == [1]
    assert reject_checkpoints_after(run, 3) == [4]
    (run.checkpoint(3) / "buffer.jsonl").unlink()
    assert "step_00000003 aside" in repair_checkpoints(run)[0]
    assert [item.step for item in list_checkpoints(run)] == [2]
    assert [path.name for path in run.checkpoints.glob("*-step_*")] == ["damaged-step_00000003"]


def test_a_checkpoint_that_cannot_be_deleted_stays_and_ends_no_run(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``chattr +i`` on the folder; on NFS, a file that another process reads, which leaves ``.nfs...`` in its place."""
    for step in (1, 2, 3):
        publish(run, step)
    with monkeypatch.context() as kept:
        refuse(kept, "replace", errno.EPERM, "/step_00000001")
        refuse(kept, "unlink", errno.EPERM, "/step_00000001")
        assert prune_checkpoints(run, keep_last=1) == [2]
        assert [item.step for item in list_checkpoints(run)] == [1, 3]
    with monkeypatch.context() as read:
        refuse(read, "rmdir", errno.ENOTEMPTY, "actor")
        assert prune_checkpoints(run, keep_last=1) == [1]
        assert "cannot be deleted by this user" in repair_checkpoints(run)[0]
    assert repair_checkpoints(run) == [] and [item.step for item in list_checkpoints(run)] == [3]


@pytest.mark.parametrize("hard_links", [True, False])
@pytest.mark.parametrize("goes", ["pruned", "rolled back"])
def test_links_of_a_deduplicating_tool_outlive_the_checkpoint_that_they_lead_into(
    run: RunDir, goes: str, hard_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pruning left kept checkpoints with links to nothing, without a word."""
    if not hard_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "not here")))
    kept, gone = (publish(run, step).path for step in ((2, 1) if goes == "pruned" else (1, 2)))
    outside = run.root / "cycles" / "kept.jsonl"
    outside.parent.mkdir()
    for link, name in ((kept / "actor/model.pt", "actor/model.pt"), (outside, "buffer.jsonl")):
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(gone / name, link.parent) if hard_links else gone / name)
    if goes == "pruned":
        assert prune_checkpoints(run, keep_last=1) == [1]
    else:
        assert reject_checkpoints_after(run, 1) == [2]
    assert not checkpoint_problems(kept) and outside.read_text() == "{}\n"
    assert not any(path.is_symlink() for path in (*kept.rglob("*"), outside))


def test_a_file_that_is_a_link_to_nothing_is_called_one(run: RunDir) -> None:
    model = publish(run, 1).path / "actor" / "model.pt"
    model.unlink()
    model.symlink_to("../gone.pt")
    assert "model.pt, a link to ../gone.pt, cannot be read" in checkpoint_problems(run.checkpoint(1))[0]


def test_full_disk_while_publishing_leaves_the_old_one(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(run, 1)
    staging = staging_dir(run, 2)
    (staging / "model.pt").write_bytes(b"x")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"step 2 could not be written: the disk of .* is full"):
        publish_checkpoint(run, 2, staging)
    monkeypatch.undo()
    checkpoint = latest_verified_checkpoint(run)
    assert checkpoint is not None and checkpoint.step == 1


def test_a_share_that_does_not_tell_its_room_is_not_called_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, used=0, free=0))
    assert free_gib(tmp_path) > 1e5 and not _is_full(tmp_path)


def test_disk_preflight_uses_the_real_size(run: RunDir) -> None:
    publish(run, 1, b"x" * 1_000_000)
    assert require_disk_space(run, keep_last=2, margin_gib=0.001) == pytest.approx(
        0.001 + 2 * 1_000_003 / 2**30
    )
    with pytest.raises(
        BudgetError, match=r"GiB free, but .* GiB are needed \(2 more checkpoints of 0.00 GiB"
    ):
        require_disk_space(run, keep_last=2, margin_gib=1e6)
    with pytest.raises(BudgetError, match=r"lower campaign\.keep_last"):
        require_disk_space(RunDir(run.root / "new"), keep_last=2, margin_gib=1e6)


def test_room_is_counted_on_the_disk_that_checkpoints_was_moved_to(
    run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose checkpoints had been moved to a larger disk, with a link in their place, was refused for want of room
    on the disk that they had left."""
    publish(run, 1)
    run.checkpoints.rename(tmp_path / "large")
    run.checkpoints.symlink_to(tmp_path / "large")
    free = {False: 0, True: 2**40}
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda place: SimpleNamespace(total=1, free=free["large" in str(place.resolve())]),
    )
    require_disk_space(run, keep_last=2, margin_gib=1.0)
    assert room_for(Config(name=run.root.name), run.root.parent) == 1024
    shortage = Shortage("disk", "checkpoints", 2000, 1024)
    judged = SimpleNamespace(advice=None, kept=())
    assert f"the disk of {tmp_path / 'large'}:" in fit_refusal(judged, [shortage], run)  # type: ignore[arg-type]
    assert free_gib(run.root) == 0


def test_read_checkpoint_without_manifest(run: RunDir) -> None:
    run.checkpoint(9).mkdir(parents=True)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(run.checkpoint(9))
    assert list_checkpoints(run) == []


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read whole."""
    found: list[str] = []
    whole = checkpoints.file_hash

    def counted(path: Path) -> str:
        found.append(path.name)
        return whole(path)

    monkeypatch.setattr(checkpoints, "file_hash", counted)
    return found


def test_a_file_that_has_not_changed_is_read_once_by_a_process(
    run: RunDir, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "SETTLED_S", float("-inf"))  # the files are older than that
    path = publish(run, 4).path
    reads.clear()
    assert latest_verified_checkpoint(run) and sorted(reads) == ["buffer.jsonl", "model.pt"]
    assert latest_verified_checkpoint(run) and not checkpoint_problems(path) and len(reads) == 2

    (path / "actor" / "model.pt").write_bytes(b"weighty")  # of the same size
    assert latest_verified_checkpoint(run) is None and reads[2:] == ["model.pt"]
    os.replace(path / "buffer.jsonl", path / "aside")
    (path / "buffer.jsonl").write_text("[]\n")
    assert len(checkpoint_problems(path)) == 2


def test_a_file_that_was_changed_just_now_is_read_again(run: RunDir, reads: list[str]) -> None:
    """Its time stamp may be too coarse to tell of a change that follows."""
    path = publish(run, 4).path
    reads.clear()
    for _ in range(2):
        assert not checkpoint_problems(path)
    assert len(reads) == 4
