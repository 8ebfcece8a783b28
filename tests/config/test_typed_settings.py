"""Settings as people type them, and YAML files as people edit them: taken literally, or one sentence."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.cli import run_command
from azr.cli.pasted import pasted_sentence
from azr.config import Config, from_container
from azr.config import load as load_module
from azr.config import paths as paths_module
from azr.config.load import compose_container, load_config, read_config, to_yaml, write_config
from azr.config.typed import leaf_kinds, split_overrides
from azr.config.units import number_told
from azr.config.yaml_files import load_yaml
from azr.errors import ConfigError, DataError

PROJECT = Path(__file__).resolve().parents[2]


def loaded(*items: str) -> Config:
    return load_config(["recipe=cpu_tiny", *items]).config


@pytest.mark.parametrize(
    "path",
    ["/m/v=1", "/m/a,b", "/m/[x]", "/m/{x}", "/m/(x)", "/m/a#b", "/m/a $b", "/m/a'b", '/m/a"b', "/m/Müller/模型", "/m/a b", "a:b",
     "org/name@main", "!x", "&x", "*x", "%x", "@x", "/m/a\\b", "null", "1e5", "?"],
)  # fmt: skip
def test_texts_are_taken_as_they_are_typed(path: str) -> None:
    config = loaded(f"model.path={path}")
    assert config.model.path == path
    assert from_container(yaml.safe_load(to_yaml(config))) == config, "and they survive the run's config.yaml"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("C:\\runs", "is a path of Windows; under WSL it is /mnt/c/runs"),
        ("d:/a b/runs", "under WSL it is /mnt/d/a b/runs"),
        ("C:", "under WSL it is /mnt/c/"),
        ("C:runs", "whose backslashes the shell took away"),
        (r"\\wsl$\Ubuntu\home\me", "here it is /home/me"),
        (r"\\wsl.localhost\Ubuntu", "here it is /"),
        (r"\\nas\models", "mount that folder here"),
    ],
)
def test_paths_of_windows_say_where_wsl_has_them(
    path: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for item in (f"runs_dir={path}", f"model.path={path}", f"data.extra_files=[/a.jsonl,{path}]"):
        with pytest.raises(ConfigError) as error:
            loaded(item)
        assert f"{item.partition('=')[0]}={path} " in str(error.value) and told in str(error.value)
    for words in (["report", path], ["export", "runs/x", f"--out={path}"], ["move-run", "unpack", path, "x"]):
        assert run_command(words[0], words[1:]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("#", "'#' begins a comment, which this shell hands on"),
        ("#another", "leave it out, with all that follows"),
        ("\u2013\u2013cfg", "typographic dash, as text processors write it; type --cfg"),
        ("\u2014cfg", "type --cfg"),
        ("\u2212h", "type -h"),
        ("name\uff1dfriday", "type ="),
        ("name=\u201cfriday\u201d", "typographic quotation marks"),
        ("\u201ename=friday\u201c", "typographic quotation marks"),
        ("'name=friday'", "as cmd.exe hands them on"),
    ],
)
def test_what_a_pasted_command_brings_along(word: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "watch", "report", "evaluate", "export", "control", "preflight", "move-run"):
        assert run_command(command, ["runs/default", word]) == 2
        error = capsys.readouterr().err
        assert told in error and word.strip("'") in error


@pytest.mark.parametrize(
    "word",
    [
        "name=it's",
        "name=\u00fc \u2013 x",
        "model.path='/m/x y'",
        "runs/\u201ea\u201c/b",
        "data.extra_files=['a','b']",
    ],
)
def test_marks_inside_of_a_value_are_the_users(word: str) -> None:
    assert not pasted_sentence(word)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("name=x\u00a0campaign.hours=2", "U+00A0, no-break space"),
        ("campaign.hours=2\u00a0", "U+00A0"),
        ("\u200bname=x", "U+200B, zero width space"),
        ("runs/default\ufeff", "U+FEFF"),
    ],
)
def test_characters_that_nobody_sees_are_named(word: str, told: str) -> None:
    """The key nearest to one that begins with U+200B was the one that stood there."""
    assert told in pasted_sentence(word) and ascii(word) in pasted_sentence(word)
    assert not pasted_sentence("model.path=/a\u00a0b/c")  # between words of a name they are the user's


def test_a_list_that_the_shell_has_split_and_names_in_another_spelling() -> None:
    with pytest.raises(ConfigError, match=r"as a shell splits one at its blanks; quote it"):
        loaded("data.extra_files=[a.jsonl,", "b.jsonl]")
    for typed, meant in (("0.5b_8gb", "0_5b_8gb"), ("CPU-tiny", "cpu_tiny"), ("cpu_tiny ", "cpu_tiny")):
        with pytest.raises(ConfigError, match=f"recipe={typed}: write recipe={meant}$"):
            load_config([f"recipe={typed}"])


def test_a_folder_that_is_called_like_a_path_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "C:\\runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert loaded("runs_dir=C:\\runs").runs_dir == str(tmp_path / "C:\\runs")


def test_signs_of_hydra_mean_the_key() -> None:
    assert (
        loaded("+campaign.hours=1.5").campaign.hours == loaded("++campaign.hours=1.5").campaign.hours == 1.5
    )
    assert load_config(["+recipe=cpu_tiny", "+name=x"]).config.name == "x"


def test_a_home_folder_is_spelt_out() -> None:
    assert loaded("model.path=~/m").model.path == str(Path.home() / "m")


@pytest.mark.parametrize(
    "name",
    [
        "123",
        "1e5",
        "true",
        "007",
        "null",
        "1.50",
        "0x10",
        "2026-01-01",
        "a b",
        "Wörld",
        "a=b",
        "[1]",
        "x" * 200,
    ],
)
def test_names_as_typed(name: str) -> None:
    assert loaded(f"name={name}").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../x",
        "a/b",
        "a\\b",
        ".",
        "..",
        ".hidden",
        "-x",
        "~x",
        " x",
        "x ",
        "a\tb",
        "x" * 201,
        "ä" * 101,
        "a\u200bb",
    ],
)
def test_names_that_are_no_folder_names(name: str) -> None:
    with pytest.raises(ConfigError, match=r"name is .*; it becomes a folder name, so it "):
        loaded(f"name={name}")


@pytest.mark.parametrize(
    ("typed", "value"), [("'/m/x y'", "/m/x y"), ('"/m/v=1"', "/m/v=1"), ("'it\\'s'", "it's"), ("'", "'")]
)
def test_quotation_marks_around_a_text_are_taken_off(typed: str, value: str) -> None:
    assert loaded(f"model.path={typed}").model.path == value


@pytest.mark.parametrize(
    ("typed", "value"),
    [("[]", []), ("", []), ("a.jsonl", ["a.jsonl"]), ("[a b,ü=1, c#d ]", ["a b", "ü=1", "c#d"]), ("[\"c,d\",'e f']", ["c,d", "e f"]),
     ("[it's]", ["it's"]), ("[a[1].jsonl]", ["a[1].jsonl"])],
)  # fmt: skip
def test_lists_of_texts(typed: str, value: list[str]) -> None:
    assert loaded(f"data.extra_files={typed}").data.extra_files == value


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ("data.extra_files=a,b", r"write 'data\.extra_files=\[a,b\]' for several, or"),
        ("data.extra_files=[a,,b]", "there is nothing between two commas"),
        ("data.extra_files=['a,b]", "a quotation mark is not closed"),
        ("model.path=/m/${x}", r"holds \$\{, which the trainer's libraries read as a reference"),
        ("model.path=/m/\udce4", r"model\.path contains bytes that are not UTF-8: /m/\\xe4; rename"),
        ("model.path=a\nb", "contains a line end or a NUL"),
        ("model.path", "'model.path' is not a setting; write key=value, "),
        ("default", r"'default' is not a setting; write key=value \(name=default for the run default\), "),
        ("runs/default/", r"write key=value \(name=default for the run default\)"),
        ("model.path =x", r"no space before =; write model\.path=VALUE"),
        ("--resume", "there is no option --resume; .* the same command resumes a run, by its name=$"),
        ("--lr", r"there is no option --lr; settings are key=value, and here it is train\.learning_rate$"),
        ("--name", "settings have no dashes; write name=VALUE$"),
        (
            "train.learning_rat=1",
            r"there is no configuration key train\.learning_rat; the nearest key is train\.learning_rate",
        ),
        ("learning_rate=1", r"the nearest key is train\.learning_rate"),
        (
            "rollout.temperature=0",
            "no configuration key rollout.temperature; a run samples at temperature 1 .* azr evaluate has --temp",
        ),
        ("sampler.wxyz=0", "no configuration key sampler.wxyz; docs/configuration.md lists all keys$"),
        ("lr=1e-6", r"no configuration key lr; here it is train\.learning_rate$"),
        ("--max-tokens=512", r"here it is rollout\.max_response_tokens$"),
        ("train.num_train_epochs=3", r"no epochs, .* campaign\.cycles times campaign\.steps_per_cycle"),
        ("kl_coef=0.1", "has no KL term"),
        ("train=x", "train is a section; set its keys one by one: train.KEY=VALUE$"),
        ("model=Qwen/Qwen2.5-Coder-0.5B", r"model is a section; .* \(here it is model\.path\)$"),
        ("selfplay=papr", "selfplay=papr is unknown; choose from code, instruct, instruct_small, paper"),
        ("seed=1,2", "seed=1,2 names several values; a run takes one"),
        ("campaign.hours=2,5", r"campaign\.hours=2,5: write a point, not a comma: campaign\.hours=2\.5$"),
        ("train.learning_rate=1,5e-6", r"train\.learning_rate=1\.5e-6$"),
        ("train.learning_rate=1e-6,2e-6", "names several values"),
        ("train.early_saves=1,2", r"write a list in brackets: 'train\.early_saves=\[1,2\]'$"),
        ("--campaign.hours=2", r"settings have no dashes; write campaign\.hours=2$"),
        ("--recipe=cpu_tiny", "settings have no dashes; write recipe=cpu_tiny$"),
        ("seed=a=b", "seed=a=b: the value cannot be read"),
        ("seed=x", "seed is 'x'; it must be a whole number"),
        ("seed=1795833812499783335", r"^seed is 1795833812499783335; it must be from 0 to 4294967295$"),
        ("seed=-1", "^seed is -1; it must be from 0 to 4294967295$"),
        ("runs_dir=", "^runs_dir is ''; it cannot be empty$"),
        ("seed=true", "^seed is True; it must be a number$"),
        ("campaign.hours=false", "^campaign.hours is False; it must be a number$"),
        ("train.early_saves=[true]", "^train.early_saves is True; it must be a number$"),
        ("campaign.hours=[", r"campaign\.hours=\[: the value cannot be read"),
        ("recipe=", "recipe= is unknown"),
        (
            "recipe=cpu_tiny.yaml",
            "^recipe=cpu_tiny.yaml: the name goes without its extension; write recipe=cpu_tiny$",
        ),
        ("selfplay=code.yml", "the name goes without its extension; write selfplay=code$"),
        ("selfplay={a:1}", "^selfplay={a:1} is unknown; choose from code"),
        ("train.grad_clip=0", "^train.grad_clip is 0; it must be above 0$"),
        ("train.optimizer=sgd", "^train.optimizer is 'sgd'; it must be one of adamw, adamw_8bit$"),
        (
            "selfplay.advantage=rows",
            "^selfplay.advantage is 'rows'; it must be one of token, sequence, group$",
        ),
        (
            "selfplay.task_types=[abduction,guess]",
            "^selfplay.task_types: an entry is 'guess'; it must be one of abduction, deduction, induction, error$",
        ),
        ("selfplay.seed_share=2", "^selfplay.seed_share is 2; it must be a share from 0 to 1$"),
        ("sandbox.workers=3", "^sandbox.workers is 3; it must be from 2 to 256, a multiple of 2$"),
        ("sandbox.limits.cpu_s=0", r"^sandbox\.limits\.cpu_s is 0; it must be from 0\.05 to 3600$"),
        ("data.backups_kept=-1", "^data.backups_kept is -1; it cannot be negative$"),
        (
            "train.max_failed_rollouts=5",
            "^train.max_failed_rollouts is 5; it must be a share from 0 to 1; 5 % is 0.05$",
        ),
        ("monitor.max_logprob_mismatch=0", "^monitor.max_logprob_mismatch is 0; it must be above 0$"),
        ("train.early_saves=[0]", "^train.early_saves: an entry is 0; it must be at least 1$"),
        ("data.reexecute=often", "^data.reexecute is 'often': input should be 'never', 'once' or 'always'$"),
        ("campaign.hours=nan", "^campaign.hours is nan; it must be a finite number$"),
        ("train.learning_rate=inf", "^train.learning_rate is inf; it must be a finite number$"),
        ("campaign.hours=1e400", "^campaign.hours is inf; it must be a finite number$"),
    ],
)
def test_slips_are_sentences(item: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(["recipe=cpu_tiny", item] if not item.startswith("recipe") else [item])


def test_adapters_that_could_learn_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model.lora_alpha is 0; .* set it to 16, say$"):
        load_config(["recipe=cpu_tiny", "model.lora_rank=8", "model.lora_alpha=0"])
    load_config(
        ["recipe=cpu_tiny", "model.lora_alpha=0"]
    )  # as an earlier refusal told a run without adapters


def test_the_command_says_it_without_a_traceback() -> None:
    command = [sys.executable, str(PROJECT / "azr_single_gpu_pipeline.py"), "--cfg", "job", "recipe=cpu_tiny"]
    right = subprocess.run(
        [*command, "model.path=/m/ä=1 [x]", "name=007"], capture_output=True, timeout=120, check=True
    )
    values = yaml.safe_load(right.stdout.decode())
    assert (values["model"]["path"], values["name"]) == ("/m/ä=1 [x]", "007")
    wrong = subprocess.run([*command, b"model.path=/m/\xe4"], capture_output=True, timeout=120, check=False)
    assert (wrong.returncode, wrong.stderr) == (2, b"run: model.path contains bytes that are not UTF-8: /m/\\xe4; rename the file or "
                                                   b"folder, or make a link to it\n")  # fmt: skip


def test_every_text_key_is_known_as_one() -> None:
    kinds = leaf_kinds()
    assert (
        kinds["model.path"] == kinds["report.wandb_project"] == "text"
        and kinds["selfplay.solve_timing"] == "optional text"
    )
    assert (
        kinds["data.other_runs"] == "texts"
        and kinds["selfplay.banned_modules"] == "optional texts"
        and kinds["seed"] == "other"
    )
    assert (
        loaded("selfplay.solve_timing=null", "selfplay.banned_modules=null").selfplay.banned_modules is None
    )


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(key for key, kind in leaf_kinds().items() if "text" in kind)),
    st.text(max_size=20),
)
def test_any_text_is_a_value_or_a_sentence(key: str, value: str) -> None:
    try:
        hydra, values = split_overrides([f"{key}={value}"])
    except ConfigError:
        return
    assert hydra == [f"recipe={value}"] if key == "recipe" else (hydra == [] and list(values) == [key])


# ---------------------------------------------------------------- files


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


def test_a_recipe_with_another_extension_is_named(configs: Path) -> None:
    (configs / "recipe/cpu_tiny.yaml").rename(configs / "recipe/mine.yml")
    for name in ("mine", "mine.yml", "mine.yaml"):
        with pytest.raises(ConfigError, match=r"recipe/mine\.yml: .* rename it to mine\.yaml$"):
            load_config([f"recipe={name}"])


DAMAGES: list[tuple[str, str, str | bytes, str]] = [
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
        r"recipe/\w+\.yaml, line \d+: selfplay\.references is -1; it cannot be",
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


@pytest.mark.parametrize("item", ["~campaign", "~campaign.hours", "~recipe=cpu_tiny"])
def test_a_setting_cannot_be_removed(item: str) -> None:
    with pytest.raises(ConfigError, match="a setting cannot be removed"):
        loaded(item)


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


def test_the_shipped_files_are_as_they_were() -> None:
    assert compose_container(["recipe=cpu_tiny"])["recipe"] == "cpu_tiny"
    for path in sorted((PROJECT / "configs").rglob("*.yaml")):
        assert isinstance(load_yaml(path), dict)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("campaign.hours=48h", "a number of hours, without a unit: 48"),
        ("campaign.hours=2d", "a number of hours, without a unit: 48"),
        ("campaign.hours=90 min", "a number of hours, without a unit: 1.5"),
        ("campaign.hours=1:30", "a number of hours, without a unit: 1.5"),
        ("campaign.hours=two", "a number of hours"),
        ("campaign.heartbeat_timeout_s=5min", "a number of seconds, without a unit: 300"),
        ("campaign.heartbeat_timeout_s=5m", "a number of seconds, without a unit: 300"),
        ("rollout.gpu_memory_share=60%", "a share from 0 to 1, without a unit: 0.6"),
        ("rollout.gpu_memory_share=60 %", "a share from 0 to 1, without a unit: 0.6"),
        ("rollout.gpu_memory_share=60", "from 0.01 to 0.95; 60 % is 0.6"),
        ("budget.gpu_reserve_gib=16GB", "a number of GiB, without a unit: 16"),
        ("budget.gpu_reserve_gib=512 MiB", "a number of GiB, without a unit: 0.5"),
        ("sandbox.limits.memory_mib=2G", "a whole number of MiB, without a unit: 2048"),
        ("rollout.max_response_tokens=1_000 tokens", "a whole number of tokens, without a unit: 1000"),
        ("rollout.max_response_tokens=1 000", "a whole number of tokens, without a unit: 1000"),
        ("rollout.max_response_tokens=2k", "a whole number of tokens, without a unit"),  # 2000 or 2048
        ("rollout.max_response_tokens=0.5 tokens", "a whole number of tokens, without a unit"),
        ("campaign.cycles=5.5", "a whole number"),
        ("train.learning_rate=1e-6f", "a number, without a unit"),
    ],
)
def test_a_number_with_a_unit_is_told_the_unit_of_its_key(item: str, told: str) -> None:
    """They were told "unable to parse string as a number"."""
    key, _, value = item.partition("=")
    with pytest.raises(ConfigError) as error:
        loaded(item)
    assert str(error.value) in (
        f"{key} is {value!r}; it must be {told}",
        f"{key} is {value}; it must be {told}",
    )


def test_a_number_with_commas_and_other_forms_of_a_number() -> None:
    with pytest.raises(ConfigError, match="write the number without commas: seed=1000000"):
        loaded("seed=1,000,000")
    config = loaded("campaign.hours=1_000", "rollout.max_prompt_tokens=4e2", "campaign.cycles=5.0")
    assert (config.campaign.hours, config.rollout.max_prompt_tokens, config.campaign.cycles) == (1000, 400, 5)


@given(st.sampled_from(sorted(leaf_kinds())), st.text(max_size=12), st.booleans(), st.booleans())
def test_any_text_in_the_place_of_a_number_is_a_sentence(
    key: str, text: str, whole: bool, share: bool
) -> None:
    assert number_told(key, text, whole=whole, share=share).startswith("must be a ")


def test_numbers_of_command_lines_with_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("preflight --gpu 16GB", "evaluate m --suite probes --limit 1k", "control r budget 3h"):
        with pytest.raises(SystemExit):
            run_command(words.split()[0], words.split()[1:])
        assert "write the number alone, without a unit" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_command("watch", ["r", "--refresh", "0,5"])
    assert "write a point, not a comma" in capsys.readouterr().err


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


def test_a_batch_of_which_nothing_can_be_learnt_is_refused() -> None:
    """One response a stream, as to save memory: every advantage was 0, for hours."""
    one = ["recipe=paper_multi_gpu", "selfplay.batch_size=1"]
    with pytest.raises(
        ConfigError, match=r"nothing would be learnt; to save memory lower train\.micro_batch_tokens"
    ):
        load_config(one)
    load_config([*one, "selfplay.train_on_samples=true"])


def test_which_of_several_values_counts_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        "recipe=cpu_tiny",
        "campaign.hours=5",
        "name=a",
        "name=b",
        "seed=3",
        "campaign.hours=7",
        "seed=3",
    ]
    config = loaded(*given[1:])
    assert (config.campaign.hours, config.name, config.seed) == (7, "b", 3)
    assert capsys.readouterr().err == (
        "campaign.hours is given several times (5, 7); the last counts: campaign.hours=7\n"
        "name is given several times (a, b); the last counts: name=b\n"
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--name", "x"], "name=x"),
        (["seed=2", "--model.path", "/m/a b", "--name", "x"], "'model.path=/m/a b'"),
        (["--seed", "-1"], "seed=-1"),
        (["--name", "--seed", "3"], "name=VALUE"),
        (["--name", "seed=3"], "name=VALUE"),
    ],
)
def test_a_setting_typed_as_an_option_is_told_with_its_value(typed: list[str], meant: str) -> None:
    with pytest.raises(ConfigError, match=f"no dashes; write {re.escape(meant)}$"):
        load_config(typed)
