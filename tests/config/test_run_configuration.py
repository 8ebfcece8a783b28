"""The configuration that a run keeps, also where it is damaged or of an earlier version."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_helpers import loaded
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.config.load import read_config, write_config
from azr.config.yaml_files import load_yaml
from azr.errors import ConfigError, DataError


def test_a_run_s_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    config = loaded("name=007", "model.path=/m/ä: [x] #1")
    write_config(path, config)
    assert read_config(path) == config
    good = path.read_text(encoding="utf-8")
    path.write_bytes(good.replace("\n", "\r\n").encode("utf-8-sig"))
    assert read_config(path) == config
    for bad, sentence in (
        (good + "seed: 1\n", r"config\.yaml, line \d+: key seed appears twice"),
        (good.replace("seed: 1", "seed: a"), r"config\.yaml, line \d+: seed is 'a'"),
        (
            good.replace("seed: 1", "sead: 1"),
            r"config\.yaml, line \d+: there is no configuration key sead; the nearest key is seed",
        ),
        (good.replace("model:\n", "model:\n\t"), r"config\.yaml, line \d+: a tab"),
        (good[: len(good) // 2] + "'", r"config\.yaml, line \d+: "),
        ("", "is not a configuration"),
    ):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(ConfigError, match=sentence):
            read_config(path)
    path.write_bytes(good.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"config\.yaml, line \d+: byte 0xe4 is not UTF-8"):
        read_config(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=r"config\.yaml cannot be read: Is a directory"):
        read_config(path)


def test_a_run_that_an_earlier_version_began(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its configuration has settings that are gone; without them its model can still be exported."""
    path = tmp_path / "config.yaml"
    config = loaded("name=old")
    write_config(path, config)
    good = path.read_text(encoding="utf-8")
    path.write_text(
        good.replace("sandbox:\n", "sandbox:\n  batch_programs: 8\n") + "gone:\n  twice: [1]\n",
        encoding="utf-8",
    )
    assert read_config(path) == config
    assert (
        capsys.readouterr().err
        == f"{path}: without sandbox.batch_programs, gone.twice, which this version does not have\n"
    )
    path.write_text(good.replace("sandbox:\n", "sandboxes:\n"), encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no configuration key sandboxes"):
        read_config(path)
    path.write_text(good + "rollout: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="rollout appears twice"):
        read_config(path)


@settings(deadline=None)
@given(st.binary(max_size=80) | st.text(alphabet="ab:-[]{}#&*!|>'\"%@`\t\n ?,", max_size=60).map(str.encode))
def test_any_bytes_are_yaml_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        load_yaml(path)
    except ConfigError as error:
        assert "any.yaml" in str(error)
