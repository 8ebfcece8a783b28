"""Typed configuration: one dataclass per section, one file per section, no heavy imports.

``azr.config.load`` composes ``configs/*.yaml`` and the command line with Hydra; ``from_container`` turns
plain values into a validated ``Config``. The string after a field is its documentation
(``docs/configuration.md`` is generated from it).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

from azr.config.budget import BudgetConfig
from azr.config.campaign import CampaignConfig
from azr.config.data import DataConfig
from azr.config.limits import Section, at, build
from azr.config.monitor import MonitorConfig
from azr.config.report import ReportConfig
from azr.config.sandbox import SandboxConfig
from azr.config.selfplay import SelfPlayConfig
from azr.config.train import ModelConfig, RolloutConfig, TrainConfig
from azr.config.usual_names import usual_name
from azr.errors import ConfigError

MAX_NAME_BYTES = 200
"""A file name may have 255 bytes on most file systems."""


@dataclass(frozen=True)
class Config:
    """Everything a run is configured by."""

    recipe: str = ""
    """Settings for a class of hardware (configs/recipe); empty picks one from what the machine has."""
    name: str = "default"
    """Name of the run: its directory under ``runs_dir``. The same name resumes the same run."""
    runs_dir: Annotated[str, MinLen(1)] = "runs"
    """Folder of all runs. A relative path starts at the project, or, on the command line, at the current
    folder."""
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 1
    """One seed for sampling, buffers and order; a run keeps it to its end."""
    model: ModelConfig = field(default_factory=ModelConfig)
    selfplay: SelfPlayConfig = field(default_factory=SelfPlayConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    campaign: CampaignConfig = field(default_factory=CampaignConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    @property
    def needs_gpu(self) -> bool:
        """Asks for a card, or trains and serves in bfloat16, for which a CPU is no place (``cpu_tiny`` and
        what is made from it compute in float32). Not where ``budget.override`` says that no card is
        wanted."""
        wanted = (
            self.rollout.dtype == "bfloat16" if self.train.device == "auto" else self.train.device == "cuda"
        )
        return wanted and "gpu" not in self.budget.override

    def validate(self) -> None:
        """Each section by itself, then what contradicts across sections.

        Raises:
            ConfigError: names key, value and what is right.
        """
        wrong = _no_folder_name(self.name)
        if wrong:
            raise ConfigError(f"name is {self.name[:80]!r}; it becomes a folder name, so {wrong}")
        for item in fields(self):
            section = getattr(self, item.name)
            if isinstance(section, Section):
                section.validate()
        if self.train.compile_layers and self.model.lora_rank and self.train.gpus > 1:
            raise ConfigError(
                "train.compile_layers=true with model.lora_rank above 0 on several GPUs: FSDP wraps each adapter by itself there, and a "
                "layer with such parts in it cannot be compiled; set train.compile_layers=false"
            )
        if self.model.base_format == "int4" and (change := _for_int4(self)):
            raise ConfigError(f"model.base_format=int4: {change}")
        if self.rollout.tensor_parallel > self.train.n_gpus_per_node:
            raise ConfigError(
                f"rollout.tensor_parallel is {self.rollout.tensor_parallel} but train.n_gpus_per_node is {self.train.n_gpus_per_node}; "
                "an engine cannot span more GPUs than a machine has"
            )
        if self.selfplay.overlong_tokens >= self.rollout.max_response_tokens:
            raise ConfigError(
                f"selfplay.overlong_tokens is {self.selfplay.overlong_tokens} with responses of at most {self.rollout.max_response_tokens} "
                "tokens (rollout.max_response_tokens): every response would be penalised for its length; set it to an eighth of that, or 0"
            )
        room = self.rollout.max_response_tokens - self.selfplay.overlong_tokens
        if self.selfplay.short_wrong_tokens > room:
            raise ConfigError(
                f"selfplay.short_wrong_tokens is {self.selfplay.short_wrong_tokens}, but responses of more than {room} tokens cost "
                "as overlong (rollout.max_response_tokens less selfplay.overlong_tokens): no wrong answer would have the right "
                "length; set it to a quarter of that, or 0"
            )


def _for_int4(config: Config) -> str:
    """What has to be set otherwise over an int4 base, and why; empty for nothing."""
    train = config.train
    if not config.model.lora_rank:
        return "int4 weights themselves cannot be trained; set model.lora_rank=32 to train adapters"
    if train.gpus > 1:
        return "it needs a single card; set train.n_gpus_per_node=1 and train.n_nodes=1"
    if config.rollout.merge_adapters:
        return "adapters cannot be merged into int4 weights; set rollout.merge_adapters=false"
    if config.rollout.dtype != "bfloat16":
        return "the engine's int4 kernels compute in bfloat16; set rollout.dtype=bfloat16"
    if train.liger_kernels:
        return "Liger's kernels were not tested with it; set train.liger_kernels=false"
    if train.device != "cpu" and (train.master_dtype, train.compute_dtype) != ("bfloat16", "bfloat16"):
        return "adapters and products are bfloat16; set train.master_dtype=bfloat16 and train.compute_dtype=bfloat16"
    return ""


def default_container() -> dict[str, Any]:
    """All keys with their defaults, as plain values."""
    return to_container(Config())


def to_container(config: Config) -> dict[str, Any]:
    """All keys with their values, nested, as plain values."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value.value if isinstance(value, Enum) else value for key, value in items}

    return asdict(config, dict_factory=plain)


def with_key(config: Config, key: str, value: Any) -> Config:
    """The configuration with ``value`` under a key such as ``train.micro_batch_tokens``."""
    section, _, name = key.partition(".")
    return replace(config, **{section: replace(getattr(config, section), **{name: value})})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _no_folder_name(name: str) -> str:
    """What has to be different; empty for a name that can be a folder's everywhere."""
    if not name or name != name.strip():
        return "it must not be empty or have a space at either end"
    if "/" in name or "\\" in name:
        return "it must not contain a slash (runs_dir says where the folder is)"
    if name.startswith((".", "-", "~")):
        return f"it does not begin with {name[0]}"
    if not name.isprintable():
        return "it must not contain control characters"
    if len(name.encode("utf-8")) > MAX_NAME_BYTES:
        return f"it can have at most {MAX_NAME_BYTES} bytes"
    return ""


def from_container(values: Mapping[str, Any], place: Callable[[str], str] = lambda _: "") -> Config:
    """Builds and validates a ``Config`` from plain values; keys that are left out take their defaults.

    Args:
        place: where a dotted key was written (file and line), for messages; empty if that is not known.

    Raises:
        ConfigError: an unknown key (with the nearest known one), a value of the wrong type, or a
            contradiction.
    """
    refuse_unknown_keys(values, default_container(), place)
    config = build(Config, dict(values), place)
    config.validate()
    return config


def refuse_unknown_keys(
    values: Mapping[str, Any], known: Mapping[str, Any], place: Callable[[str], str], prefix: str = ""
) -> None:
    """Raises:
    ConfigError: a key of ``values`` is not in ``known``; names the nearest one that is.
    """
    for key, value in values.items():
        whole = f"{prefix}{key}"
        if key not in known:
            wrong = unknown_key_message(whole)
            if key in flat(known):
                above, _, last = key.rpartition(".")
                below = f"in a file, put {last}: below {above}:"
                wrong = f"{key}: keys with points are for the command line; {below}"
            raise ConfigError(at(place, whole) + wrong)
        if isinstance(known[key], Mapping) and known[key]:
            if not isinstance(value, Mapping):
                raise ConfigError(at(place, whole) + _flat_section(whole, value))
            refuse_unknown_keys(value, known[key], place, f"{whole}.")


def _flat_section(key: str, value: Any) -> str:
    if value is None:
        return f"{key} is empty; put its keys below it, indented, or remove the line"
    shown = "a list" if isinstance(value, list) else str(value)
    told = f"{key} is {shown}, but it is a section: its keys go below it, indented, as KEY: VALUE"
    if key == "selfplay":
        told += "; other rules are chosen by '- selfplay: NAME' in the list 'defaults:' of pipeline.yaml"
    return told


def unknown_key_message(key: str) -> str:
    names = list(flat(default_container()))
    if (usual := usual_name(key)) and key.rpartition(".")[2].lower() not in {
        name.rpartition(".")[2] for name in names
    }:
        return f"there is no configuration key {key}; {usual}"
    nearest = _nearest_key(key, names)
    hint = f"the nearest key is {nearest}" if nearest else "docs/configuration.md lists all keys"
    return f"there is no configuration key {key}; {hint}"


def without_former_keys(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What a run's ``config.yaml`` says that this version still knows, and the keys that an earlier version
    had beside them.

    A run writes every key. One that is unknown now and close to none of those that are missing was not a slip
    of the pen; a misspelt one is kept, and refused by ``from_container``.
    """
    known = flat(default_container())
    written = flat(values)
    missing = [key for key in known if key not in written]
    sections = {key.rpartition(".")[0] for key in known}
    former = [
        key for key in written if key not in known and key not in sections and not _nearest_key(key, missing)
    ]
    return _without(values, set(former)), former


def _without(values: Mapping[str, Any], left_out: set[str], prefix: str = "") -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            value = _without(value, left_out, f"{prefix}{key}.")
            if not value:
                continue
        if f"{prefix}{key}" not in left_out:
            kept[key] = value
    return kept


def _nearest_key(key: str, names: Sequence[str]) -> str | None:
    key = key.lower()
    last = key.rpartition(".")[2]
    close = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
    # a long section would make rollout.dtype the nearest key to rollout.temperature
    nearest = [
        name for name in close if difflib.get_close_matches(last, [name.rpartition(".")[2]], cutoff=0.5)
    ]
    if not nearest:  # the right name in the wrong section
        by_last = {name.rpartition(".")[2]: name for name in names}
        nearest = [by_last[match] for match in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    return nearest[0] if nearest else None
