"""Settings as people type them: taken literally, or one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from config_helpers import PROJECT, loaded
from hypothesis import given, settings
from hypothesis import strategies as st

from azr.cli import main as azr
from azr.cli import run_command
from azr.cli.pasted import pasted_sentence
from azr.config import from_container
from azr.config.load import load_config, to_yaml
from azr.config.typed import leaf_kinds, split_overrides
from azr.errors import ConfigError
from azr.prompts import load_frame


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
        (
            "train.learning_rate=1e\u22126",
            "has a typographic minus, as web pages and papers write it; type train.learning_rate=1e-6",
        ),
        ("\u2013\u2013cfg", "typographic dash, as text processors write it; type --cfg"),
        ("\u2014cfg", "type --cfg"),
        ("\u2212h", "type -h"),
        ("name\uff1dfriday", "type ="),
        ("name=\u201cfriday\u201d", "typographic quotation marks"),
        ("\u201ename=friday\u201c", "typographic quotation marks"),
        ("'name=friday'", "as cmd.exe hands them on"),
        ("", "'' names nothing; is a variable of the shell not set?"),
        ("--out=", "--out= names nothing; is a variable of the shell not set?"),
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
        "name=2026\u201311\u201328",
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


@pytest.mark.parametrize(
    "words",
    [["run", "campaign.hours=8\r"], ["preflight", "recipe=cpu_tiny\r"], ["report", "runs/x\r"], ["doctor\r"]],
)
def test_a_script_that_was_saved_on_windows_is_named(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its last word was shown as the very thing to write."""
    assert azr(words) == 2
    assert f"{words[-1]!r} ends in a carriage return" in capsys.readouterr().err


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
    [("[]", []), ("a.jsonl", ["a.jsonl"]), ("[a b,ü=1, c#d ]", ["a b", "ü=1", "c#d"]), ("[\"c,d\",'e f']", ["c,d", "e f"]),
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
        ("my.yaml", r"'my.yaml' is a file, .* put into configs/recipe and chosen by recipe=NAME"),
        ("--config-file", "no option --config-file; .* chosen by recipe=NAME"),
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
        ("seed=a=b", "^seed is 'a=b'; it must be a whole number$"),
        ("seed=x", "seed is 'x'; it must be a whole number"),
        ("train.verdict_samples=off", "must be a whole number. 0 switches off what can be"),
        ("campaign.hours=unlimited", "must be a number of hours. 0 switches off what can be"),
        ("seed=1795833812499783335", r"^seed is 1795833812499783335; it must be from 0 to 4294967295$"),
        ("seed=-1", "^seed is -1; it must be from 0 to 4294967295$"),
        ("runs_dir=", "^runs_dir is ''; it cannot be empty$"),
        ("seed=true", "^seed is 'true'; it must be a whole number$"),
        ("campaign.hours=false", "^campaign.hours is 'false'; it must be a number of hours. 0 switches off"),
        ("train.early_saves=[true]", "^train.early_saves: an entry is 'true'; it must be a whole number$"),
        ("campaign.hours=[", r"^campaign\.hours is '\['; it must be a number of hours$"),
        (
            "campaign.hours=${train.warmup_steps}",
            r"^campaign\.hours holds \$\{, which the trainer's libraries read",
        ),
        ("train.place=x", r"there is no configuration key train\.place; "),
        (
            "recipe=",
            "^recipe= is unknown; leave recipe= out to have it chosen for this machine, or choose from",
        ),
        ("recipe=configs/recipe/cpu_tiny.yaml", "is named alone; write recipe=cpu_tiny$"),
        ("recipe=../mine.yaml", "copy that file into .*/configs/recipe, then recipe=mine$"),
        ("=3", "^'=3' has no key before its =; write KEY=3$"),
        ("CAMPAIGN.HOURS=3", r"the nearest key is campaign\.hours$"),
        ("campaign.cycles=0x10", "^campaign.cycles is '0x10'; it must be a whole number: 16$"),
        ("report.live=", r"^report.live= names nothing; is a variable of the shell not set\?"),
        ("campaign.hours= ", "^campaign.hours= names nothing"),
        ("selfplay.advantage=", "^selfplay.advantage is ''; it must be one of token, sequence, group$"),
        ("report.live=maybe", "^report.live is 'maybe'; it must be true or false$"),
        (
            "selfplay.task_types=(deduction,induction)",
            r"write 'selfplay\.task_types=\[deduction,induction\]' for several",
        ),
        ("report.loggers=none", r"; none of them is report\.loggers=\[\]$"),
        ("selfplay.task_types=none", "one of abduction, deduction, induction, error$"),
        ("Train.Device=cpu", r"the nearest key is train\.device$"),
        ("train.optimizer=AdamW8bit", "; write adamw_8bit$"),
        ("train.compute_dtype=bf16", "; write bfloat16$"),
        ("train.master_dtype=torch.float32", "; write float32$"),
        ("train.device=cuda:1", "; write cuda, and CUDA_VISIBLE_DEVICES=1 before the command$"),
        ("--gpu", "which cards a run sees is said before the command, CUDA_VISIBLE_DEVICES=0"),
        ("--dry-run", "azr preflight calculates whether a run fits"),
        (
            "recipe=cpu_tiny.yaml",
            "^recipe=cpu_tiny.yaml: the name goes without its extension; write recipe=cpu_tiny$",
        ),
        ("selfplay=code.yml", "the name goes without its extension; write selfplay=code$"),
        (
            "selfplay=auto",
            "^selfplay=auto is unknown; leave selfplay= out to have the recipe's, or choose from",
        ),
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
        ("model.lora_rank=1000", "^model.lora_rank is 1000; it must be from 0 to 512$"),
        ("model.lora_rank=off", "^model.lora_rank is 'off'; it must be a whole number. 0 switches off"),
        ("train.early_saves=[0]", "^train.early_saves: an entry is 0; it must be at least 1$"),
        ("data.reexecute=often", "^data.reexecute is 'often'; it must be one of never, once, always$"),
        ("campaign.hours=nan", "^campaign.hours is nan; it must be a finite number$"),
        ("train.learning_rate=inf", "^train.learning_rate is inf; it must be a finite number$"),
        ("campaign.hours=1e400", "^campaign.hours is inf; it must be a finite number$"),
    ],
)
def test_slips_are_sentences(item: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(["recipe=cpu_tiny", item] if not item.startswith("recipe") else [item])


def test_a_frame_in_another_spelling_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^selfplay\.frame=Paper: .*No such file .* or paper$"):
        load_frame("Paper")


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
        groups, values = split_overrides([f"{key}={value}"])
    except ConfigError:
        return
    assert groups == {"recipe": value} if key == "recipe" else (not groups and list(values) == [key])


@pytest.mark.parametrize("item", ["~campaign", "~campaign.hours", "~recipe=cpu_tiny"])
def test_a_setting_cannot_be_removed(item: str) -> None:
    with pytest.raises(ConfigError, match="a setting cannot be removed"):
        loaded(item)


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
