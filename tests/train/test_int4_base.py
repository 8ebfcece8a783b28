"""What an int4 base does not go with is refused by the trainer, before anything is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from azr.errors import TrainingError
from azr.train.verl import int4_base
from azr.train.verl.packed_engine import PackedEngine


def build(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    read: list[Any] = []
    monkeypatch.setattr(
        int4_base, "int4_model", lambda *arguments: read.append(arguments) or torch.nn.Module()
    )
    monkeypatch.setattr(int4_base, "apply_monkey_patch", lambda **_: None)
    values = {
        "local_path": "a/folder",
        "use_fused_kernels": False,
        "fused_kernel_options": {},
        "enable_gradient_checkpointing": False,
        "hf_config": SimpleNamespace(quantization_config={"quant_method": "compressed-tensors"}),
        "model_dtype": "fp32",
        "dtype": "float32",
    }
    assert changes.keys() <= values.keys()
    model_config = SimpleNamespace(**{**values, **changes})
    engine: Any = object.__new__(PackedEngine)
    engine.model_config, engine.engine_config = model_config, model_config
    engine.use_remove_padding, engine.ulysses_sequence_parallel_size = True, 1
    try:
        int4_base.build_int4_module(engine)
    finally:
        assert int4_base.has_int4_base(model_config)
    return read


def test_the_model_is_read_in_the_type_that_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    [(folder, dtype, _)] = build(monkeypatch)
    assert str(folder) == "a/folder" and dtype == torch.float32
    assert not int4_base.has_int4_base(SimpleNamespace(hf_config=SimpleNamespace()))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dtype": "bfloat16"}, r"train\.master_dtype"),
        ({"fused_kernel_options": {"compile_layers": True}}, r"set train\.compile_layers=false"),
    ],
)
def test_what_it_does_not_go_with(changes: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=why) as raised:
        build(monkeypatch, **changes)
    assert "a/folder" in str(raised.value)
