"""Can a run train the model in a folder? Judged from its JSON files and the headers of its weights, before
anything starts.

A model that the trainer or the engine would refuse minutes later, or worse, train wrongly, is refused here in
one sentence.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.errors import ModelError
from azr.models.context import require_context
from azr.models.families import (
    CHECKED,
    TIED_IN_THE_ENGINE,
    WINDOWS_IN_ALL_LAYERS,
    WITHOUT_ADAPTERS,
)
from azr.models.field_types import require_field_types
from azr.models.hub import in_a_copy
from azr.models.quantised import INT4_ARCHITECTURES, quantisation_in
from azr.models.tokenizer_files import TokenizerFiles, named_end_tokens, read_tokenizer_files
from azr.models.weight_files import read_json_file, require_whole_files
from azr.models.weights_check import quantisation_told, refuse_unclean_merge, require_matching_weights
from azr.prompts import load_frame
from azr.system.hardware import detect, device_for

EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Of vLLM 0.24 (``CPUAttentionBackend``)."""
SLOW_AND_SAFE = "train.packed_sequences=false train.compile_layers=false train.chunked_logprobs=false"
OWN_DEFAULTS = ("PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer", None)
"""Tokenizer classes that have no end token unless one is set."""


def require_trainable(folder: Path, config: Config) -> None:
    """
    Raises:
        ModelError: the model cannot be trained as configured.
    """
    values, tensors = read_json_file(folder / "config.json"), require_whole_files(folder)
    refuse_unclean_merge(folder, tensors, may_be_quantised=config.model.base_format != "plain")
    require_config_trainable(folder, config)
    if config.model.base_format == "int4" and quantisation_in(values, str(folder)):
        return  # its tensors are compared one by one when they are read
    require_matching_weights(folder, values, tensors)


def refuse_head_size(folder: Path) -> None:
    """Where no card is used.

    Raises:
        ModelError: the engine's attention for CPUs has no such heads.
    """
    values = read_json_file(folder / "config.json")
    width, heads, size = (values.get(key) for key in ("hidden_size", "num_attention_heads", "head_dim"))
    if not size and isinstance(width, int) and isinstance(heads, int) and heads > 0:
        size = width // heads
    if isinstance(size, int) and size not in CPU_HEAD_SIZES:
        raise ModelError(
            f"{folder}: its attention heads have {size} numbers (head_dim, or hidden_size by num_attention_heads), as in models that are "
            f"made for tests; without a card the engine supports {', '.join(map(str, CPU_HEAD_SIZES))}. Use another model"
        )


def require_config_trainable(folder: Path, config: Config) -> None:
    """The part that needs no weights: ``require_trainable`` of a hub model before gigabytes are fetched.

    Raises:
        ModelError: the model cannot be trained as configured.
    """
    values = read_json_file(folder / "config.json")
    require_field_types(folder / "config.json", values)
    _require_architecture(folder, values, config)
    if not config.needs_gpu and device_for(detect(), config.train.device).kind == "cpu":
        refuse_head_size(folder)
    require_context(folder, values, config)
    _require_tokenizer(
        folder, values, raw=load_frame(config.selfplay.frame).raw, trusted=config.model.trust_remote_code
    )


def _require_architecture(folder: Path, values: dict[str, Any], config: Config) -> None:
    model_type, names = values.get("model_type"), values.get("architectures")
    if (method := quantisation_told(values)) is not None:
        if config.model.base_format == "plain":
            raise ModelError(
                f"{folder} is quantised ({method}), and quantised weights cannot be trained; use the original model, or, if memory "
                "is short, a smaller one, adapters (model.lora_rank=32), or adapters over int4 weights (recipe=7b_int4_16gb)"
            )
        quantisation_in(values, str(folder))
    if config.model.base_format == "int4" and model_type not in INT4_ARCHITECTURES:
        raise ModelError(
            f"{folder}: int4 weights are supported for {', '.join(INT4_ARCHITECTURES)}, not for {model_type}; use one of those, or "
            "model.base_format=plain"
        )
    if not isinstance(model_type, str):
        raise ModelError(
            f"{folder / 'config.json'} has no model_type; it is not a language model of transformers"
        )
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        told = f"architectures is {names!r}; it has to name one class"
        raise ModelError(
            f"{folder / 'config.json'}: {told}, for example {[CHECKED.get(model_type, 'LlamaForCausalLM')]}"
        )
    [name] = names
    _refuse_leftovers(folder / "config.json", values)
    if values.get("is_encoder_decoder"):
        raise ModelError(
            f"{folder}: {name} is an encoder with a decoder; only decoder-only language models can be trained"
        )
    if "vision_config" in values or "audio_config" in values or "ConditionalGeneration" in name:
        raise ModelError(
            f"{folder}: {name} reads images or sound as well; only text models can be trained, so use the text-only model of that family"
        )
    if not name.endswith(("ForCausalLM", "LMHeadModel")):
        raise ModelError(
            f"{folder}: {name} does not write text (its head is for something else); use a causal language model"
        )
    experts = [key for key in EXPERT_KEYS if isinstance(values.get(key), int) and values[key] > 1]
    if experts:
        raise ModelError(
            f"{folder}: {name} is a mixture of {values[experts[0]]} experts; only dense models can be trained here"
        )
    _require_known(folder, values, model_type, config)
    _require_served(folder, values, model_type)


def _refuse_leftovers(where: Path, values: dict[str, Any]) -> None:
    """What the script that saved a model leaves in its ``config.json``, and transformers takes at its word."""
    attention = values.get("_attn_implementation")
    if attention is not None:
        raise ModelError(
            f"{where} names the attention of the program that saved it (_attn_implementation is {attention!r}), which would be used in "
            "place of the run's own; remove that entry"
        )
    for key in ("dtype", "torch_dtype"):
        value = values.get(key)
        if isinstance(value, str) and not re.fullmatch(r"bfloat16|float\d+\w*|half|double", value):
            raise ModelError(
                f'{where}: {key} is {value!r}, which names no type of numbers; write the one of the weights, mostly "bfloat16"'
            )


def _require_known(folder: Path, values: dict[str, Any], model_type: str, config: Config) -> None:
    """An architecture that was compared with the original, or the original itself, and has code here."""
    auto_map = values.get("auto_map")
    has_own_code = isinstance(auto_map, dict) and "AutoModelForCausalLM" in auto_map
    if config.model.lora_rank and model_type in WITHOUT_ADAPTERS:
        raise ModelError(
            f"{folder}: the engine does not support adapters for {model_type} models; set model.lora_rank=0, which trains all weights"
        )
    if model_type in CHECKED:
        if has_own_code and config.model.trust_remote_code:
            raise ModelError(
                f"{folder} ships its own code for {model_type}, which transformers supports itself; set model.trust_remote_code=false"
            )
        return
    if config.train.packed_sequences or config.train.chunked_logprobs:
        raise ModelError(
            f"{folder}: packed attention and the chunked output head were never compared with the original for {model_type} models, and "
            f"might train them wrongly; the model's own attention and head need more time and memory: {SLOW_AND_SAFE}. "
            f"Compared: {', '.join(sorted(CHECKED))}"
        )
    if config.model.trust_remote_code or _known_to_transformers(model_type):
        return
    if has_own_code:
        raise ModelError(
            f"{folder} needs the Python code that it ships; if you have read that code and trust it: model.trust_remote_code=true"
        )
    raise ModelError(
        f"{folder}: the installed transformers does not support {model_type} models; use another model"
    )


def _require_served(folder: Path, values: dict[str, Any], model_type: str) -> None:
    """Two forms of known families that the trainer would train and the engine does not run."""
    where = folder / "config.json"
    if model_type in TIED_IN_THE_ENGINE and values.get("tie_word_embeddings") is False:
        raise ModelError(
            f"{where}: tie_word_embeddings is false, and the engine runs {model_type} models only with the embeddings as output head; "
            "use the original model, or one that was saved without a separate head"
        )
    window = values.get("sliding_window") if values.get("use_sliding_window") else None
    in_all = values.get("max_window_layers") == values.get("num_hidden_layers")
    if model_type in WINDOWS_IN_ALL_LAYERS and window and not in_all:
        raise ModelError(
            f"{where}: use_sliding_window is true for some layers and not for others, which the engine does not support for {model_type} "
            f"models; if prompt and response together have at most sliding_window ({window}) tokens, use_sliding_window=false "
            "in a copy of the model gives the same results"
        )


def _known_to_transformers(model_type: str) -> bool:
    """Looked up in its source, because importing it takes seconds."""
    found = importlib.util.find_spec("transformers")
    if found is None or found.origin is None:
        return True
    tables = (Path(found.origin).parent / "models" / "auto").glob("*.py")
    return any(f'"{model_type}"' in table.read_text(encoding="utf-8") for table in tables)


def _require_tokenizer(folder: Path, values: dict[str, Any], *, raw: bool, trusted: bool) -> None:
    files = read_tokenizer_files(folder)
    own_code = files.settings.get("auto_map")
    has_own_code = isinstance(own_code, dict) and "AutoTokenizer" in own_code
    if has_own_code and not (folder / "tokenizer.json").is_file() and not trusted:
        raise ModelError(
            f"the tokenizer of {folder} needs the Python code that it ships; if you have read that code and trust it: "
            "model.trust_remote_code=true"
        )
    tokenizer_class = files.settings.get("tokenizer_class") or values.get("tokenizer_class")
    mistrals_own = (folder / "tekken.json").is_file() or any(folder.glob("tokenizer.model.v*"))
    if values.get("model_type") == "mistral" and tokenizer_class is None and not mistrals_own:
        raise ModelError(
            f"{folder / 'tokenizer_config.json'} has no tokenizer_class; for mistral models transformers then needs tekken.json. "
            'Write "tokenizer_class": "PreTrainedTokenizerFast" into it, with which it reads tokenizer.json'
        )
    template = files.chat_template
    if not raw and template is None:
        files_of_it = sorted(path.name for path in folder.glob("*chat_template.*"))
        other = next((name for name in files_of_it if name != "chat_template.jinja"), "")
        if other:
            raise ModelError(
                f"{folder} has its chat template in {other}, which is not read; save the template itself as chat_template.jinja there"
            )
        raise ModelError(
            f"{folder} has no chat template, and the frame asks for one; it is a base model, for which there is selfplay.frame=paper "
            "(or copy the template, chat_template.jinja or tokenizer_config.json, from the model that this one was made from)"
        )
    ends = {f"end token {end}": end for end in named_end_tokens(folder)}
    named = {f"{name} {files.special(name)!r}": files.special_id(name) for name in ("eos_token", "pad_token")}
    if files.special("eos_token") is None and files.settings.get("tokenizer_class") in OWN_DEFAULTS:
        raise ModelError(
            f"{folder / 'tokenizer_config.json'} has no eos_token, so no response would ever end; name the token that ends a turn"
        )
    vocabulary = values.get("vocab_size")
    if not isinstance(vocabulary, int):
        return
    needed = {**ends, **{what: number for what, number in named.items() if number is not None}}
    if not raw and template is not None:
        used = {token: number for token, number in files.added.items() if token in template}
        needed |= {f"{token} of the chat template": number for token, number in used.items()}
    _require_in_vocabulary(files, vocabulary, needed)
    eos = files.special_id("eos_token")
    if eos is not None and eos >= len(files.ids):
        raise ModelError(
            f"{folder}: eos_token {files.special('eos_token')!r} would have id {eos}, and tokenizer.json has {len(files.ids)} tokens, "
            "beyond which the engine accepts none; name an end token that is in tokenizer.json, or use a tokenizer whose ids have no gaps"
        )


def require_ended_turns(folder: Path, config: Config) -> None:
    """For a new run whose frame asks through the chat template.

    Raises:
        ModelError: the template ends an answer with a token at which the model does not stop, as in a base model that carries the
            template of its instruct sibling: each response would run to its limit.
    """
    files = read_tokenizer_files(folder)
    template, ends = files.chat_template, {files.special("eos_token")}
    ends |= {token for token, number in files.ids.items() if number in named_end_tokens(folder)}
    if load_frame(config.selfplay.frame).raw or template is None or "eos_token" in template:
        return
    after = files.after_answer()
    marks = [token for token in files.added if token in after]
    if not marks or any(end in template for end in ends if end):
        return
    mark = min(marks, key=lambda token: (after.index(token), -len(token)))
    ids = [*named_end_tokens(folder), files.ids.get(mark, files.added[mark])]
    raise ModelError(
        f"{folder}: its chat template ends an answer with {mark}, and the model stops at {', '.join(sorted(filter(None, ends)))} alone, "
        "so each response would run to its limit. A base model is asked without the template (selfplay.frame=paper); of a model that "
        f'was taught it, {in_a_copy(folder)}write "eos_token_id": {ids} into generation_config.json'
    )


def _require_in_vocabulary(files: TokenizerFiles, vocabulary: int, needed: dict[str, int]) -> None:
    words = {token: number for token, number in files.ids.items() if token not in files.added}
    beyond = [f"{what} has id {number}" for what, number in needed.items() if number >= vocabulary]
    if not beyond and words and max(words.values()) >= vocabulary:
        beyond = [f"its largest token has id {max(words.values())}"]
    if beyond:
        raise ModelError(
            f"{files.folder}: tokenizer and model do not belong together: {beyond[0]}, and the model has {vocabulary} embeddings; "
            "use the tokenizer that the model was trained with (a padding token that was added without resizing can be removed)"
        )
