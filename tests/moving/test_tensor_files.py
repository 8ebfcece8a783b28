"""Files of torch.save are judged without being loaded, also those that are laid out to be read in two
ways."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import random
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azr.moving.tensor_files import tensor_file_problem
from azr.train.kernels.optimizers import AdamW8bit


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


def test_what_the_trainer_saves_is_accepted(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.randn(600).bfloat16())
    optimizer = AdamW8bit([parameter], lr=1e-3)
    parameter.grad = torch.randn(600).bfloat16()
    optimizer.step()
    plain = torch.optim.AdamW([torch.nn.Parameter(torch.randn(3))], lr=1e-3)
    plain.param_groups[0]["params"][0].grad = torch.ones(3)
    plain.step()
    scheduler = torch.optim.lr_scheduler.LambdaLR(plain, lambda step: 1.0)
    states = {"cpu": torch.get_rng_state(), "numpy": np.random.get_state(), "random": random.getstate()}
    models = [
        OrderedDict(weight=torch.randn(3)),
        {"a": torch.randn(2).bfloat16(), "b": torch.ones(2, dtype=torch.int8)},
    ]
    rest = {"lr_scheduler": scheduler.state_dict(), "rng": states}
    for number, value in enumerate([*models, optimizer.state_dict(), plain.state_dict(), rest]):
        assert tensor_file_problem(saved(tmp_path / f"{number}.pt", value)) == ""


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return (self.function, self.arguments)


@pytest.mark.parametrize(
    "function",
    [
        os.system,
        builtins.eval,
        builtins.getattr,
        torch.load,
        torch.hub.load,
        pickle.loads,
        np.load,
        shutil.rmtree,
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_whatever_would_be_called_is_found(tmp_path: Path, function: Any, protocol: int) -> None:
    assert tensor_file_problem(
        saved(tmp_path / "a.pt", {"x": Calls(function, "y")}, pickle_protocol=protocol)
    )


def test_files_that_torch_reads_in_another_way(tmp_path: Path) -> None:
    good = saved(tmp_path / "good.pt", {"x": torch.zeros(2)}).read_bytes()
    bad = pickle.dumps(Calls(os.system, "true"), protocol=2)
    (tmp_path / "before.pt").write_bytes(bad + good)  # torch sees a bare pickle, zipfile an archive
    (tmp_path / "bare.pt").write_bytes(bad)
    saved(tmp_path / "old.pt", {"x": torch.zeros(2)}, _use_new_zipfile_serialization=False)
    for name, members in {
        "script": {"a/data.pkl": b".", "a/constants.pkl": b"."},
        "twice": {"a/data.pkl": pickle.dumps({}, protocol=2), "b/data.pkl": bad},
        "none": {"a/version": b"3"},
        "deep": {"a/b/data.pkl": b"."},
    }.items():
        with zipfile.ZipFile(tmp_path / f"{name}.pt", "w") as out:
            for member, data in members.items():
                out.writestr(member, data)
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
    (tmp_path / "shifted.pt").write_bytes(b"PK\x03\x04" + buffer.getvalue())
    for name in ("before", "bare", "old", "script", "twice", "none", "deep", "packed", "shifted"):
        assert tensor_file_problem(tmp_path / f"{name}.pt"), name
    assert tensor_file_problem(tmp_path / "absent.pt")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_no_bytes_end_in_a_traceback(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(data)
    assert tensor_file_problem(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "b.pt", "w") as out:
        out.writestr("a/data.pkl", data)
    tensor_file_problem(tmp_path / "b.pt")
