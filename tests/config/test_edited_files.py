"""Files of configs/ as people edit them: taken literally, or one sentence with the line."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from config_helpers import PROJECT, loaded

from azr.cli import run_command
from azr.config import load as load_module
from azr.config import paths as paths_module
from azr.config.load import compose_container, load_config
from azr.config.yaml_files import load_yaml
from azr.errors import ConfigError


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of configs/ that may be spoilt."""
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    monkeypatch.setattr(load_module, "CONFIG_DIR", tmp_path / "configs")
    return tmp_path / "configs"


NAMES_LIKE_NUMBERS = ["4060", "123", "1e5", "0x10", "true", "null", "2026-01-01"]


@pytest.mark.parametrize("name", [*NAMES_LIKE_NUMBERS, "1.5e-3", "it's", "a,b"])
def test_recipes_of_your_own_may_have_any_name(
    configs: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """recipe=4060 ended in a traceback of Hydra's, which read a number."""
    shutil.copy(configs / "recipe/cpu_tiny.yaml", configs / f"recipe/{name}.yaml")
    rules = (configs / "selfplay/code.yaml").read_text()
    (configs / f"selfplay/{name}.yaml").write_text(rules + "\nbanned_modules: [mine]\n")
    assert run_command("run", ["--cfg", "job", f"recipe={name}"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["recipe"] == name
    config = load_config([f"recipe={name}", f"selfplay={name}"]).config
    assert config.model.path.endswith("azr-tiny") and config.selfplay.banned_modules == ["mine"]
    path = configs / "pipeline.yaml"
    plain = path.read_text()
    for text in (
        plain.replace("- optional recipe:", f'- optional recipe: "{name}"'),
        f'{plain}\nrecipe: "{name}"\n',
    ):
        path.write_text(text)
        assert load_config([]).config.recipe == name


@pytest.mark.parametrize("name", [name for name in NAMES_LIKE_NUMBERS if name != "null"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("- optional recipe:", "- optional recipe: {}"),
        ("- selfplay: code", "- selfplay: {}"),
        ("# seed: 1", "recipe: {}"),
    ],
)
def test_a_name_like_a_number_has_to_be_quoted_in_a_file(
    configs: Path, name: str, old: str, new: str
) -> None:
    shutil.copy(configs / "recipe/cpu_tiny.yaml", configs / f"recipe/{name}.yaml")
    path = configs / "pipeline.yaml"
    path.write_text(path.read_text().replace(old, new.format(name), 1))
    told = rf'pipeline\.yaml, line \d+: [a-z ]+: {name} is not read as a name; quote it: "{name}"$'
    for items in ([], ["recipe=cpu_tiny"]):
        with pytest.raises(ConfigError, match=told):
            load_config(items)


@pytest.mark.parametrize("name", ["1.2.3", "e5", "_", "0_5b", "1e5x"])
def test_other_names_need_no_quotation_marks(configs: Path, name: str) -> None:
    shutil.copy(configs / "recipe/cpu_tiny.yaml", configs / f"recipe/{name}.yaml")
    path = configs / "pipeline.yaml"
    path.write_text(path.read_text().replace("- optional recipe:", f"- optional recipe: {name}"))
    assert load_config([]).config.recipe == name


@pytest.mark.parametrize("saved", ["mine.yml", "mine.yaml.txt"])  # the latter by Notepad
def test_a_recipe_with_another_extension_is_named(configs: Path, saved: str) -> None:
    (configs / "recipe/cpu_tiny.yaml").rename(configs / "recipe" / saved)
    for name in ("mine", "mine.yml", "mine.yaml"):
        with pytest.raises(ConfigError, match=rf"recipe/{saved}: .* rename it to mine\.yaml$"):
            load_config([f"recipe={name}"])


DAMAGES: list[tuple[str, str, str | bytes, str]] = [
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign:\n\xa0 hours: 3",
        r"pipeline\.yaml, line \d+: a non-breaking space .* before 'hours: 3'; type plain spaces there",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign:\n  hours: .inf",
        r"pipeline\.yaml, line \d+: campaign\.hours is inf; it must be a finite number$",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "runs_dir: @home/runs",
        r"pipeline\.yaml, line \d+: a value that begins with @ has to be in quotes",
    ),
    ("pipeline.yaml", "# seed: 1", "seed: 1\n\tname: x", r"pipeline\.yaml, line \d+: a tab \(in line \d+\)"),
    (
        "pipeline.yaml",
        "# seed: 1",
        "seed: 1\nseed: 2",
        r"pipeline\.yaml, line \d+: key seed appears twice \(first in line \d+\)",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "runs_dir: ${HOME}/runs",
        r"pipeline\.yaml, line \d+: runs_dir: \$\{HOME\} refers to another key, .* is written \$HOME",
    ),
    ("pipeline.yaml", "# seed: 1", "seed: [1", r"pipeline\.yaml, line \d+: "),
    ("pipeline.yaml", "# seed: 1", 'name: "x', r"pipeline\.yaml, line \d+: "),
    (
        "pipeline.yaml",
        "# seed: 1",
        "a: b: c",
        r"pipeline\.yaml, line \d+: mapping values are not allowed here \(at 'a: b: c'\)",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "sed: 1",
        r"pipeline\.yaml, line \d+: there is no configuration key sed; the nearest key is seed",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "seed: x",
        r"pipeline\.yaml, line \d+: seed is 'x'; it must be a whole number",
    ),
    (
        "pipeline.yaml",
        "# name: default ",
        "name: 123 ",
        r"pipeline\.yaml, line \d+: name is 123: .* looks like int is quoted",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign.hours: 12",
        r"pipeline\.yaml, line \d+: campaign\.hours: keys with points .* put hours: below campaign:$",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "sandbox: {limits.cpu_s: 3}",
        r"pipeline\.yaml, line \d+: limits\.cpu_s: keys with points .* put cpu_s: below limits:$",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "seed: ${x}",
        r"pipeline\.yaml, line \d+: seed: \$\{x\} refers to another key, and there is none",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "# Müller".encode("latin-1"),
        r"pipeline\.yaml, line \d+: byte 0xfc is not UTF-8; save the file as UTF-8",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign: {hours: 1:30}",
        r"pipeline\.yaml, line \d+: YAML reads 1:30 as 90; write it in quotes if it is a text, else as a decimal number$",
    ),
    ("pipeline.yaml", "# seed: 1", "seed: 010", r"pipeline\.yaml, line \d+: YAML reads 010 as 8; "),
    (
        "pipeline.yaml",
        "# seed: 1",
        "seed: yes",
        r"pipeline\.yaml, line \d+: seed is True; it must be a number$",
    ),
    (
        "recipe/cpu_tiny.yaml",
        "hours: 2",
        "hours: 1:30.5",
        r"cpu_tiny\.yaml, line \d+: YAML reads 1:30.5 as 90.5; ",
    ),
    ("selfplay/code.yaml", "", "\nseed_factor: 04\n", r"code\.yaml, line \d+: YAML reads 04 as 4; "),
    (
        "recipe/cpu_tiny.yaml",
        "model:",
        "modle:",
        r"recipe/cpu_tiny\.yaml, line \d+: there is no configuration key modle",
    ),
    (
        "recipe/cpu_tiny.yaml",
        "references: 2",
        "references: -1",
        r"recipe/\w+\.yaml, line \d+: selfplay\.references is -1; it must be from 0 to 100",
    ),
    ("selfplay/code.yaml", "", "\t", r"selfplay/code\.yaml, line \d+: "),
    (
        "pipeline.yaml",
        "# seed: 1",
        "train: none",
        r"pipeline\.yaml, line \d+: train is none, but it is a section",
    ),
    ("pipeline.yaml", "# seed: 1", "campaign: [1]", r"pipeline\.yaml, line \d+: campaign is a list, but it"),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign:\n  - hours: 4",
        r"pipeline\.yaml, line \d+: campaign is a list",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign:",
        r"pipeline\.yaml, line \d+: campaign is empty; put its keys below it",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "selfplay: 4060",
        r"line \d+: selfplay is 4060, but it is a section.*'- selfplay: NAME' in the list 'defaults:'",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "sandbox: {limits: 5}",
        r"line \d+: sandbox\.limits is 5, but it is a sect",
    ),
    ("selfplay/code.yaml", "", "\nintrinsic: 3\n", r"code\.yaml, line \d+: selfplay\.intrinsic is 3, but it"),
    (
        "recipe/cpu_tiny.yaml",
        "model:",
        "monitor: 3\nmodel:",
        r"cpu_tiny\.yaml, line \d+: monitor is 3, but",
    ),
    (
        "pipeline.yaml",
        "# seed: 1",
        "campaign: {hours: 48h}",
        r"line \d+: campaign\.hours is '48h'; it must be a number of hours, without a unit: 48$",
    ),
    ("pipeline.yaml", "# seed: 1", "model: {path: }", r"line \d+: model\.path is empty \(null\)"),
    ("pipeline.yaml", "# seed: 1", "campaign: {hours: }", r"line \d+: campaign\.hours is empty \(null\)"),
    (
        "pipeline.yaml",
        "# seed: 1",
        "data: {extra_files: my.jsonl}",
        r"line \d+: data\.extra_files is 'my\.jsonl'; it must be a list: \[my\.jsonl\]",
    ),
    (
        "pipeline.yaml",
        "# name: default",
        "<<<<<<< Updated upstream\nname: default\n=======\nname: friday\n>>>>>>> Stashed changes\n#",
        r"pipeline\.yaml, line 10: a mark of git",
    ),
    (
        "pipeline.yaml",
        "  - defaults ",
        "#",
        r"pipeline\.yaml: its list 'defaults:' has no entry for 'defaults'",
    ),
    ("pipeline.yaml", "  - selfplay: code", "#", r"pipeline\.yaml: .* no entry for 'selfplay'"),
    (
        "pipeline.yaml",
        "  - optional recipe:",
        "#",
        r"pipeline\.yaml: .* no entry for 'recipe'.*fresh download",
    ),
    ("pipeline.yaml", "defaults:", "unread:", r"pipeline\.yaml: .* no entry for 'defaults'"),
]


@pytest.mark.parametrize(("file", "old", "new", "sentence"), DAMAGES)
def test_a_wrong_file_is_named_with_its_line(
    configs: Path, file: str, old: str, new: str | bytes, sentence: str
) -> None:
    path = configs / file
    text = path.read_bytes()
    assert old.encode() in text
    new = new if isinstance(new, bytes) else new.encode()
    path.write_bytes(text.replace(old.encode(), new, 1) if old else text + new)
    with pytest.raises(ConfigError, match=sentence):
        loaded()


def test_a_shipped_file_comes_back_from_git_or_from_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ZIP download has no repository, and a folder's blanks and brackets ended the command."""
    project = tmp_path / "azr-main (1)"
    monkeypatch.setattr(paths_module, "PROJECT", project)
    (project / "configs").mkdir(parents=True)
    file = project / "configs" / "pipeline.yaml"
    assert paths_module.get_back(file) == "copy configs/pipeline.yaml from a fresh download of the project"
    file.write_text("seed: 1\n")
    git = ["git", "-C", str(project), "-c", "user.name=x", "-c", "user.email=x@y"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    file.unlink()
    command = re.search("`(.*)`", paths_module.get_back(file))
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)
    assert file.read_text() == "seed: 1\n"


def test_a_list_of_defaults_that_was_spoilt_is_named_with_a_recipe_typed_too(configs: Path) -> None:
    (configs / "pipeline.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: its list 'defaults:' has no entry"):
        loaded("recipe=cpu_tiny")


def test_files_in_other_encodings_and_forms(configs: Path) -> None:
    path = configs / "pipeline.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert loaded() == loaded()
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"pipeline\.yaml is saved as UTF-16; save it as UTF-8"):
        loaded()
    for content in ("- a\n- b\n", "just words\n"):
        path.write_text(content)
        with pytest.raises(ConfigError):
            loaded()
    path.unlink()
    with pytest.raises(ConfigError, match="pipeline"):
        loaded()


def test_the_shipped_files_are_as_they_were() -> None:
    assert compose_container(["recipe=cpu_tiny"])["recipe"] == "cpu_tiny"
    for path in sorted((PROJECT / "configs").rglob("*.yaml")):
        assert isinstance(load_yaml(path), dict)


def test_what_stands_in_pipeline_yaml_wins_over_the_recipe(configs: Path) -> None:
    """It was overridden by the recipe without a word, and a recipe named there was ignored."""
    path = configs / "pipeline.yaml"
    path.write_text(path.read_text() + "\ncampaign: {hours: 5}\ntrain: {learning_rate: 1.0e-5}\n")
    config = load_config(["recipe=cpu_tiny"]).config
    assert (config.campaign.hours, config.campaign.cycles) == (5, 2)
    assert config.train.learning_rate == 1e-5 and config.model.path.endswith("azr-tiny")
    assert load_config(["recipe=cpu_tiny", "campaign.hours=6"]).config.campaign.hours == 6
    plain = path.read_text()
    for named in (
        plain.replace("- optional recipe:", "- optional recipe: 3b_lora_16gb"),
        plain + "recipe: 3b_lora_16gb\n",
    ):
        path.write_text(named)
        loaded = load_config([])
        assert loaded.config.recipe == "3b_lora_16gb" and "pipeline.yaml" in loaded.recipe_reason
        assert load_config(["recipe=cpu_tiny"]).config.recipe == "cpu_tiny"
    path.write_text(plain + "recipe: no_such\n")
    with pytest.raises(ConfigError, match="recipe=no_such is unknown"):
        load_config([])


def test_a_recipe_without_its_first_line_is_refused(configs: Path) -> None:
    """Nothing of it was used."""
    tiny = (configs / "recipe/cpu_tiny.yaml").read_text()
    (configs / "recipe/mine.yaml").write_text(tiny.replace("# @package _global_\n", ""))
    with pytest.raises(ConfigError, match=r"mine\.yaml: its first line has to be '# @package _global_'"):
        load_config(["recipe=mine"])


@pytest.mark.parametrize("text", ["learning_rate 1e-4", "- train: 1"])
def test_a_recipe_that_holds_no_settings_is_named(configs: Path, text: str) -> None:
    """It was called an unknown key, or an error while composing."""
    (configs / "recipe/mine.yaml").write_text(f"# @package _global_\n{text}\n")
    with pytest.raises(ConfigError, match=r"recipe/mine\.yaml holds no settings"):
        load_config(["recipe=mine"])


def test_a_recipe_of_ones_own_is_named_and_its_seed_is_used(configs: Path) -> None:
    """A wrong value in it was said to be in the first file with that key, another recipe; and ``pipeline.yaml`` set the
    seed, whatever the recipe said."""
    mine = configs / "recipe/mine.yaml"
    for line in ("campaign:\n  hours: 48#weekend\n", "train:\n  learning_rate: 0,1\n"):
        mine.write_text(f"# @package _global_\n{line}")
        with pytest.raises(ConfigError, match=r"recipe/mine\.yaml, line 3: \w+\.\w+ is '"):
            load_config(["recipe=mine"])
    mine.write_text("# @package _global_\nseed: 4\n")
    assert load_config(["recipe=mine"]).config.seed == 4


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("defaults: cpu_tiny", "write it as defaults: [cpu_tiny, _self_]"),
        ("defaults:", "None is not a list of files"),
        ("defaults: {}", "is not a list of files"),
        ("defaults:\n  -", "None in its list defaults: is not the name of a file"),
        ("defaults: [4060]", "4060 in its list defaults: is not the name of a file"),
        ("defaults: [mine]", "builds on itself by its list defaults:; take mine out of it"),
        ("defaults: [other]", "builds on itself"),
        ("defaults: [missing]", "is unknown; choose from"),
        ("defaults: [cpu-tiny]", "write recipe=cpu_tiny"),
        ("defaults: [{override /recipe: cpu_tiny}]", "has no effect in its list defaults:"),
        ("defaults: [{cpu_tiny: null}]", "a file to build on by its name alone"),
        ("defaults: [{selfplay: paper}]", "'- override /selfplay: NAME'"),
        ("defaults: [{override /selfplay: papr}]", "selfplay=papr is unknown"),
    ],
)
def test_a_list_of_defaults_that_builds_on_nothing_is_told(configs: Path, lines: str, told: str) -> None:
    """Some ended in Hydra's tracebacks, one of 2,500 lines; others were left out without a word."""
    mine = configs / "recipe/mine.yaml"
    mine.write_text(f"# @package _global_\n{lines}\n")
    (configs / "recipe/other.yaml").write_text("# @package _global_\ndefaults: [mine]\n")
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        load_config(["recipe=mine"])
    assert str(mine) in str(caught.value) or "other.yaml" in str(caught.value)


@pytest.mark.parametrize("lines", ["defaults: code", "defaults: [mine]", "defaults:\n  - ~", "defaults: [1]"])
def test_rules_that_build_on_nothing_are_told(configs: Path, lines: str) -> None:
    (configs / "selfplay/mine.yaml").write_text(f"{lines}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        load_config(["recipe=cpu_tiny", "selfplay=mine"])


@pytest.mark.parametrize("entry", ["", "~", "[a]", "pipeline"])
def test_an_odd_entry_in_the_pipelines_own_list_is_told(configs: Path, entry: str) -> None:
    path = configs / "pipeline.yaml"
    path.write_text(path.read_text().replace("  - selfplay:", f"  - {entry}\n  - selfplay:"))
    with pytest.raises(ConfigError, match=r"pipeline\.yaml: .* in its list 'defaults:' is no file"):
        load_config(["recipe=cpu_tiny"])


def test_a_header_without_a_package_is_told(configs: Path) -> None:
    (configs / "recipe/mine.yaml").write_text("# @package\ntrain:\n  learning_rate: 1e-5\n")
    with pytest.raises(ConfigError, match="line 1: write '# @package _global_'"):
        load_config(["recipe=mine"])


def test_numbers_of_a_recipe_that_builds_on_another_stay(configs: Path) -> None:
    """The base's ``budget.automatic`` chose others in their place."""
    mine = configs / "recipe/mine.yaml"
    mine.write_text("# @package _global_\ndefaults: [0_5b_16gb, _self_]\nrollout:\n  max_sequences: 48\n")
    automatic = load_config(["recipe=mine"]).config.budget.automatic
    assert "rollout.max_sequences" not in automatic and "train.micro_batch_tokens" in automatic
    mine.write_text(mine.read_text() + "budget:\n  automatic: [rollout.max_sequences]\n")
    assert load_config(["recipe=mine"]).config.budget.automatic == ["rollout.max_sequences"]


def test_an_error_in_an_own_recipe_names_that_file(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It named a shipped recipe that has the same key."""
    monkeypatch.delenv("MYMODEL", raising=False)
    mine = configs / "recipe/zz.yaml"
    mine.write_text("# @package _global_\nmodel:\n  path: ${oc.env:MYMODEL}\n")
    with pytest.raises(ConfigError, match=re.escape(f"{mine}, line 3: model.path")):
        load_config(["recipe=zz"])
