"""Numbers as people type them, with units, commas and all."""

from __future__ import annotations

import pytest
from config_helpers import loaded
from hypothesis import given
from hypothesis import strategies as st

from azr.cli import run_command
from azr.config.typed import leaf_kinds
from azr.config.units import number_told
from azr.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("10^-6", "1e-6"),
        ("2x10^-6", "2e-6"),
        ("5·10⁻⁶", "5e-6"),
        ("3×10−6", ""),
        ("2^5", "32"),
        ("10^6", "1000000"),
    ],
)
def test_a_power_is_told_as_a_number(typed: str, number: str) -> None:
    """ "It must be a number, true, false, or a list such as [1,2]"."""
    with pytest.raises(ConfigError, match=rf"is '.*'; it must be a number{f': {number}' if number else ''}$"):
        loaded(f"train.learning_rate={typed}")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("campaign.hours=48h", "a number of hours, without a unit: 48"),
        ("campaign.hours=2d", "a number of hours, without a unit: 48"),
        ("campaign.hours=90 min", "a number of hours, without a unit: 1.5"),
        ("campaign.hours=1:30", "a number of hours, without a unit: 1.5"),
        ("campaign.hours=1h30", "a number of hours, without a unit: 1.5"),
        ("campaign.hours=2h 15min", "a number of hours, without a unit: 2.25"),
        ("campaign.hours=1 1/2", "a number of hours"),  # 5.5 was named, which is 11/2
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
        ("campaign.hours=24*2", "a number of hours: 48"),
        ("campaign.cycles=5/2", "a whole number"),
        ("rollout.gpu_memory_share=1/2", "a share from 0 to 1: 0.5"),
        ("train.learning_rate=2 * 10**-6", "a number: 2e-6"),
        ("train.learning_rate=1/0", "a number"),
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


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("campaign.poll_s=1e300", "campaign.poll_s is 1e+300; it must be above 0, at most 1000000000"),
        ("campaign.backoff_s=1e10", "it must be from 0 to 1000000000"),
        ("campaign.hours=1e9", "it must be from 0 to 1000000"),
        ("selfplay.references=1000", "it must be from 0 to 100"),
        ("train.learning_rate=2", "train.learning_rate is 2; .*write 0.1 or less"),
        (
            f"rollout.fixed_prompt_tokens={'9' * 400}",
            "is a number of 400 digits, with which nothing is computed",
        ),
    ],
)
def test_a_number_that_nothing_could_work_with_is_refused(item: str, told: str) -> None:
    """The driver ended in a traceback of ``time.sleep``, planning a step took hours, and the weights became NaN."""
    with pytest.raises(ConfigError, match=told.replace("+", r"\+")):
        loaded(item)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("data.extra_files=", r"names nothing; is a variable of the shell not set\? An empty list is data.extra_files=\[\]"),
        ("data.probe_files=", "names nothing"),
        ("data.extra_files=['']", "an entry is ''; it cannot be empty"),
        ("rollout.cuda_graph_sizes=[0]", "an entry is 0; it must be at least 1"),
    ],
)  # fmt: skip
def test_a_list_of_nothing_is_not_taken_for_an_empty_one(item: str, told: str) -> None:
    """``data.extra_files=$MINE`` trained without these tasks, and ``['']`` took all files of the current folder."""
    with pytest.raises(ConfigError, match=told):
        loaded(item)
    assert loaded("data.extra_files=[]").data.extra_files == []


def test_a_number_with_commas_and_other_forms_of_a_number() -> None:
    with pytest.raises(ConfigError, match="write the number without commas: seed=1000000"):
        loaded("seed=1,000,000")
    config = loaded(
        "campaign.hours=1_000",
        "rollout.max_prompt_tokens=4e2",
        "campaign.cycles='5.0'",
        "train.early_saves=[1, 2e0]",
    )
    assert (config.campaign.hours, config.rollout.max_prompt_tokens, config.campaign.cycles) == (1000, 400, 5)
    assert config.train.early_saves == [1, 2]


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
