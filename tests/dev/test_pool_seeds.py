"""scripts/dev/pool_seeds.py: a planted gain, a planted nothing, and seeds that do not belong together."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "dev" / "pool_seeds.py"
spec = importlib.util.spec_from_file_location("pool_seeds", SCRIPT)
assert spec and spec.loader
pool_seeds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pool_seeds)


def evaluation(folder: Path, model: str, right: float, seed: int, n: int = 400) -> None:
    draw = random.Random(f"{model}{seed}")
    for suite in ("o", "i"):
        path = folder / model / suite / "verdicts.jsonl"
        path.parent.mkdir(parents=True)
        rows = [{"id": f"item{i}", "sample": 0, "score": float(draw.random() < right)} for i in range(n)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert pool_seeds.main([*words, "--suite", "o", "--suite", "i"]) == 0
    return capsys.readouterr().out.splitlines()


def test_two_seeds_show_a_gain_that_each_has_and_none_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        for model, right in (("start", 0.4), ("better", 0.5), ("same", 0.4)):
            evaluation(tmp_path / str(seed), model, right, seed)
    gain = run(capsys, *(f"{tmp_path}/{seed}:start:better" for seed in (1, 2)))
    assert len(gain) == 3
    assert "p 0.0001" in gain[-1]
    assert "400 items" in gain[-1]
    nothing = run(capsys, *(f"{tmp_path}/{seed}:start:same" for seed in (1, 2)))[-1]
    assert float(nothing.split(", p ")[1].split()[0]) > 0.05


def test_seeds_with_other_items_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation(tmp_path / "1", "start", 0.4, 1)
    evaluation(tmp_path / "1", "end", 0.4, 1, n=399)
    assert pool_seeds.main([f"{tmp_path}/1:start:end", "--suite", "o"]) == 2
    assert "same items" in capsys.readouterr().err
    assert pool_seeds.main([f"{tmp_path}/1:start:gone", "--suite", "o"]) == 2
    assert "gone" in capsys.readouterr().err
    assert pool_seeds.main(["start:end", "--suite", "o"]) == 2
    assert "FOLDER:BEFORE:AFTER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        # 400 items of one suite and 400 others of another were called 800 items that both have
        (["1:start:end", "--suite", "o", "--suite", "other"], "same items"),
        (["1:start:end", "--suite", "o", "--suite", "o"], "named twice"),
        (["1:start:end", "./1:start:end", "--suite", "o"], "named twice"),
        (["1:start:short", "--suite", "o"], "not asked o alike: max_response_tokens 512, 64"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    words: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for model, tokens in (("start", 512), ("end", 512), ("short", 64)):
        evaluation(tmp_path / "1", model, 0.5, 1)
        other = tmp_path / "1" / model / "other" / "verdicts.jsonl"
        other.parent.mkdir()
        other.write_text(
            (tmp_path / "1" / model / "o" / "verdicts.jsonl").read_text().replace("item", "task")
        )
        (tmp_path / "1" / model / "o" / "request.json").write_text(
            json.dumps({"max_response_tokens": tokens})
        )
    assert pool_seeds.main(words) == 2
    assert told in capsys.readouterr().err


def test_the_picture_has_a_row_for_each_seed_and_nothing_is_pooled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation(tmp_path / "1", "start", 0.4, 1)
    evaluation(tmp_path / "1", "end", 0.5, 1)
    evaluation(tmp_path / "2", "start", 0.3, 2, n=100)  # another experiment, with other items
    evaluation(tmp_path / "2", "end", 0.3, 2, n=100)
    words = [
        f"{tmp_path}/1:start:end",
        f"small=0.5B={tmp_path}/2:start:end",
        "--picture",
        f"{tmp_path}/gains.png",
    ]
    first, second = run(capsys, *words)
    assert "p 0.0" in first and second.startswith("small=0.5B: ") and "100 items" in second
    assert (tmp_path / "gains.png").read_bytes().startswith(b"\x89PNG")
