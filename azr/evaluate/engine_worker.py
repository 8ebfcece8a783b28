"""What is added to vLLM's worker: replacing its weights by another model's.

The parameters keep their places in memory, so compiled graphs stay valid; vLLM's own layerwise reloading (0.24) does
that, and repeats what a layer does with its weights after loading (on a processor they are repacked).
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from vllm.config import set_current_vllm_config
from vllm.config.load import LoadConfig
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from azr.errors import ModelError
from azr.evaluate.weights import WEIGHT_FILES, as_numbers, merged_state_dict
from azr.run.checkpoints import read_checkpoint, require_sound
from azr.system.hashes import text_hash

HASHED_AT_ONCE = 16
"""Tensors whose hash may be outstanding: they are kept in memory until then."""


class LoadingWorkerExtension:
    """vLLM makes it a base of its worker class, so it may not name anything that is there already."""

    def load_evaluated_model(self, folder: str, checkpoint: str | None, trust_remote_code: bool) -> str:
        """Replaces the weights by those of a Hugging Face folder, or of a checkpoint of the trainer.

        Returns:
            a hash of the weights in the engine's number type: equal for equal models, whatever they were read from.

        Raises:
            CheckpointError: the checkpoint is damaged.
            ModelError: a weight of the model is missing, NaN or infinite.
        """
        worker: Any = self
        runner = worker.model_runner
        model = runner.get_model()
        if checkpoint is not None:
            path, dtype = Path(checkpoint), str(runner.model_config.dtype).removeprefix("torch.")
            require_sound(path, only=WEIGHT_FILES)
            state = merged_state_dict(read_checkpoint(path), dtype=dtype, trust_remote_code=trust_remote_code)
            weights: Iterable[tuple[str, torch.Tensor]] = state.items()
        else:
            config = copy.copy(runner.model_config)
            config.model = folder
            loader: Any = get_model_loader(LoadConfig())
            weights = loader.get_all_weights(config, model)

        tied = bool(getattr(runner.model_config.hf_config, "tie_word_embeddings", False))
        hashed = HashedWeights(
            weights, runner.model_config.dtype, checkpoint or folder, skip=("lm_head.weight",) if tied else ()
        )
        there = {name for name, _ in model.named_parameters()}

        with set_current_vllm_config(worker.vllm_config):
            initialize_layerwise_reload(model)
            loaded = model.load_weights(iter(hashed))
            finalize_layerwise_reload(model, runner.model_config)

        missing = sorted(there - loaded) if loaded is not None else []
        if missing:
            raise ModelError(
                f"{checkpoint or folder} lacks {len(missing)} weights that the engine's model has, {missing[0]} for example"
            )
        return hashed.digest()


class HashedWeights:
    """Hands weights on in one number type, and hashes them by the way, a thread a tensor."""

    def __init__(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        dtype: torch.dtype,
        place: str,
        skip: Iterable[str] = (),
    ) -> None:
        """
        Args:
            place: where they come from, for a message.
            skip: names whose tensors are handed on unhashed: a tied output matrix, which some files hold and
                some do not.
        """
        self._weights, self._dtype, self._place, self._skip = weights, dtype, place, frozenset(skip)
        self._hashes: dict[str, str] = {}

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        waiting: dict[str, Future[str]] = {}
        with ThreadPoolExecutor() as pool:
            for name, tensor in self._weights:
                given = as_numbers(self._place, name, tensor, self._dtype)
                if name not in self._skip:
                    waiting[name] = pool.submit(_tensor_hash, given)
                if len(waiting) >= HASHED_AT_ONCE:
                    oldest = next(iter(waiting))
                    self._hashes[oldest] = waiting.pop(oldest).result()
                yield name, given
            self._hashes.update({name: future.result() for name, future in waiting.items()})

    def digest(self) -> str:
        """Of all weights, whatever their order was."""
        return text_hash("\n".join(f"{name} {value}" for name, value in sorted(self._hashes.items())), 32)


def _tensor_hash(tensor: torch.Tensor) -> str:
    digest = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
