"""The engine's side of an int4 base: packed weights are rearranged for its kernel and copied into the tensors
that are there.

CUDA graphs keep the addresses of what they were recorded with, so vLLM's own way, which makes new tensors after
each loading, is not taken: a graph would go on reading the old ones. For the same reason Marlin's workspaces
(locks between its thread blocks, which a kernel expects to be zero) are cleared where they are: they are no
buffers, and a sleep that keeps no weights leaves garbage in them, for which a kernel would wait forever.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from azr.errors import TrainingError
from azr.train.quantize.folder import SCALES, WORDS
from azr.train.quantize.int4 import PER_WORD

BIAS, WORKSPACE = "bias", "workspace"
WRAPPED = ".base_layer"
"""In the name of a layer that adapters lie over, in peft and in vLLM."""


@dataclass
class _Layer:
    """A linear layer of the engine, which may hold several of the model's (q, k and v in one)."""

    module: Any
    parts: list[str]
    """The model's names, in the order in which the outputs lie."""
    arrived: dict[tuple[str, str], torch.Tensor] = field(default_factory=dict)
    is_done: bool = False

    @property
    def kernel(self) -> Any:
        return self.module.scheme.kernel

    @property
    def kinds(self) -> list[str]:
        """What is sent of each part."""
        return [WORDS, SCALES] if self.module.bias is None else [WORDS, SCALES, BIAS]

    @property
    def names(self) -> list[str]:
        """The module's own names for these."""
        return [self.kernel.w_q_name, self.kernel.w_s_name, BIAS][: len(self.kinds)]

    def tensors(self) -> dict[str, torch.Tensor]:
        """What graphs may keep the address of."""
        tensors = {name: getattr(self.module, name) for name in self.names}
        workspace = getattr(self.kernel, WORKSPACE, None)
        return tensors if workspace is None else {**tensors, WORKSPACE: workspace}


class Int4Receiver:
    """Takes one sending of the base, in buckets, each good until the next one comes."""

    def __init__(self, model: Any) -> None:
        """
        Raises:
            TrainingError: the engine's linear layers are not int4, or were to round activations too.
        """
        self._model = model
        self._layers = _packed_layers(model)
        if not self._layers:
            raise TrainingError(
                "the engine's linear layers are not int4; it was started with another model than the trainer's"
            )
        for name, layer in self._layers.items():
            if layer.kernel.config.act_type != torch.bfloat16:
                raise TrainingError(
                    f"the engine would multiply {name} with activations in {layer.kernel.config.act_type}, and the trainer "
                    "with bfloat16; unset VLLM_MARLIN_INPUT_DTYPE and set rollout.dtype=bfloat16"
                )
        self._owners = {part: layer for layer in self._layers.values() for part in layer.parts}
        self._names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._names.update(name for name, _ in model.named_buffers())

    def addresses(self) -> dict[str, int]:
        return {
            f"{name}.{kind}": tensor.data_ptr()
            for name, layer in self._layers.items()
            for kind, tensor in layer.tensors().items()
        }

    @torch.no_grad()
    def take(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        others = []
        for name, tensor in weights:
            module, _, kind = name.replace(f"{WRAPPED}.", ".").rpartition(".")
            layer = self._owners.get(module)
            if layer is None or kind not in layer.kinds:
                others.append((name, tensor))
                continue
            layer.arrived[module, kind] = tensor.clone()
            if len(layer.arrived) == len(layer.parts) * len(layer.kinds):
                _put(layer)
        if others:
            from verl.utils.vllm import resolve_weight_name

            self._model.load_weights(
                (resolve_weight_name(self._model, name, self._names), tensor) for name, tensor in others
            )

    @torch.no_grad()
    def finish(self, addresses: dict[str, int]) -> None:
        """
        Args:
            addresses: as they were when the graphs were recorded.

        Raises:
            TrainingError: a layer's weights have not come, or tensors have moved.
        """
        if missing := [name for name, layer in self._layers.items() if not layer.is_done]:
            raise TrainingError(
                f"the engine was not sent all of {missing[0]} ({len(missing)} of {len(self._layers)} layers are incomplete); "
                "trainer and engine were started with different models"
            )
        for layer in self._layers.values():
            if WORKSPACE in (tensors := layer.tensors()):
                tensors[WORKSPACE].zero_()
        now = self.addresses()
        if moved := [name for name in now if now[name] != addresses[name]]:
            raise TrainingError(
                f"{len(moved)} of the engine's tensors have moved since its CUDA graphs were recorded, {moved[0]} first; this "
                "vLLM behaves differently from the pinned one. Set rollout.enforce_eager=true to do without graphs"
            )


def receive_int4_base(worker: Any, use_shm: bool) -> None:
    """verl's ``update_weights_from_ipc`` of the worker, for the frozen base; afterwards vLLM's processing of
    loaded weights is not called, which would make new tensors.

    Raises:
        TrainingError: see ``Int4Receiver``.
    """
    from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver

    receiver = Int4Receiver(worker.model_runner.model)
    if not hasattr(worker, "int4_addresses"):
        worker.int4_addresses = receiver.addresses()
    socket = BucketedWeightReceiver(
        zmq_handle=worker._get_zmq_handle(), device=worker.device, use_shm=use_shm
    )
    socket.receive_weights(on_bucket_received=lambda weights, is_last: receiver.take(weights))
    receiver.finish(worker.int4_addresses)


def _packed_layers(model: Any) -> dict[str, _Layer]:
    fused = getattr(model, "packed_modules_mapping", None) or {}
    layers = {}
    for name, module in model.named_modules():
        if getattr(getattr(module, "scheme", None), "kernel", None) is None:
            continue
        name = name.removesuffix(WRAPPED)
        leaf = name.rpartition(".")[2]
        layers[name] = _Layer(module, [name.removesuffix(leaf) + part for part in fused.get(leaf, [leaf])])
    return layers


def _put(layer: _Layer) -> None:
    """Rearranges by the kernel's own code, in a layer of its own, and copies the result into place."""
    from vllm.model_executor.parameter import GroupQuantScaleParameter, PackedvLLMParameter

    words, scales, *biases = (
        torch.cat([layer.arrived[part, kind] for part in layer.parts]) for kind in layer.kinds
    )
    layer.arrived.clear()
    kernel = layer.kernel
    inputs, outputs = kernel.config.partition_weight_shape
    shapes = [tuple(words.shape), tuple(scales.shape)]
    if shapes != [(outputs, inputs // PER_WORD), (outputs, inputs // kernel.config.group_size)]:
        raise TrainingError(
            f"the engine was sent {layer.parts[0]} as {shapes[0]} words and {shapes[1]} scales, and has {outputs} outputs of "
            f"{inputs} inputs in groups of {kernel.config.group_size}; trainer and engine were started with different models"
        )
    unused: dict[str, Any] = {"input_dim": 1, "output_dim": 0, "weight_loader": _no_loader}
    fresh = torch.nn.Module()
    fresh.register_parameter(
        kernel.w_q_name, PackedvLLMParameter(data=words, packed_dim=1, packed_factor=PER_WORD, **unused)
    )
    fresh.register_parameter(kernel.w_s_name, GroupQuantScaleParameter(data=scales, **unused))
    fresh.register_parameter(BIAS, torch.nn.Parameter(biases[0], requires_grad=False) if biases else None)
    names = (kernel.w_q_name, kernel.w_s_name, kernel.w_zp_name, kernel.w_gidx_name)
    type(kernel)(kernel.config, *names).process_weights_after_loading(fresh)
    for name in layer.names:
        getattr(layer.module, name).data.copy_(getattr(fresh, name).data)
    layer.is_done = True


def _no_loader(*_: Any) -> None:
    """For vLLM's parameters, which want one."""
