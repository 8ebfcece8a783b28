"""Int4 weights: packed and unpacked without loss, scales as good as the candidates allow, and the layout
that compressed-tensors reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compressed_tensors.compressors.pack_quantized import pack_to_int32, unpack_from_int32
from hypothesis import given
from hypothesis import strategies as st

from azr.train.quantize import int4
from azr.train.quantize.int4 import dequantise, pack_int4, quantise, unpack_int4


def drawn(rows: int, columns: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    return spread * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@given(rows=st.integers(1, 5), words=st.integers(1, 9), seed=st.integers(0, 2**32))
def test_pack_and_unpack_are_exact_and_the_librarys(rows: int, words: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-8, 8, (rows, 8 * words), dtype=torch.int8, generator=generator)
    packed = pack_int4(values)
    assert packed.shape == (rows, words) and packed.dtype == torch.int32
    assert torch.equal(unpack_int4(packed), values)
    assert torch.equal(packed, pack_to_int32(values, 4))
    assert torch.equal(unpack_from_int32(packed, 4, values.shape), values)


@given(seed=st.integers(0, 2**32))
def test_all_words_are_values_whatever_type_they_are_held_in(seed: int) -> None:
    """Some are NaN as bfloat16 or float32; the bits are what counts."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(-(2**31), 2**31, (3, 16), generator=generator).to(torch.int32)
    values = unpack_int4(words)
    assert torch.equal(pack_int4(values), words)
    for dtype in (torch.bfloat16, torch.float32, torch.uint8):
        assert torch.equal(unpack_int4(words.view(dtype)), values)


@given(
    rows=st.integers(1, 4), groups=st.integers(1, 3), group=st.sampled_from([32, 64, 128]),
    seed=st.integers(0, 2**32), power=st.integers(-30, 30),
)  # fmt: skip
def test_every_weight_is_within_its_step_or_cut_off(
    rows: int, groups: int, group: int, seed: int, power: int
) -> None:
    weight = drawn(rows, groups * group, seed, 2.0**power)
    words, scales = quantise(weight, group)
    assert scales.dtype == torch.bfloat16 and scales.shape == (rows, groups)
    values, found = unpack_int4(words).float(), dequantise(words, scales)
    assert found.dtype == torch.bfloat16
    step = scales.float().abs().repeat_interleave(group, dim=1)
    rounding = found.float().abs() * 2.0**-8
    inside = (values > -8) & (values < 7)
    assert bool(((found.float() - weight).abs() <= step / 2 * 1.001 + rounding)[inside].all())
    exact = values * scales.float().repeat_interleave(group, dim=1)
    assert torch.equal(found, exact.bfloat16()), "value times scale, rounded once"


@given(seed=st.integers(0, 2**32), rows=st.integers(1, 3))
def test_what_is_quantised_already_stays_as_it_is(seed: int, rows: int) -> None:
    """A group whose largest value is at -8 is found again exactly."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-7, 8, (rows, 64), dtype=torch.int8, generator=generator)
    values[:, 5] = -8
    scales = (torch.rand(rows, 1, generator=generator) + 0.1).bfloat16()
    weight = dequantise(pack_int4(values), scales)
    words, found = quantise(weight)
    assert torch.equal(dequantise(words, found), weight)


def test_no_candidate_is_better_than_the_one_that_was_taken() -> None:
    weight = drawn(8, 256, 1)
    words, scales = quantise(weight)
    error = (
        unpack_int4(words).float().view(8, 4, 64) * scales.float()[..., None] - weight.view(8, 4, 64)
    ).square()
    blocks = weight.view(8, 4, 64)
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    for share in int4.CANDIDATES:
        scale = (largest / -8 * share).bfloat16().float()
        other = ((blocks / scale).round().clamp(-8, 7) * scale - blocks).square()
        assert bool((error.sum(-1) <= other.sum(-1) * 1.0001).all())


def test_the_search_pays() -> None:
    """The figures of docs/quantised.md, of normally distributed weights."""
    weight = drawn(256, 1024, 2)
    groups = weight.view(256, 16, 64)

    def relative(found: torch.Tensor) -> float:
        return ((found.view_as(weight) - weight).norm() / weight.norm()).item()

    largest = groups.abs().amax(-1, keepdim=True) / 7
    best = torch.full_like(largest, torch.inf)
    for share in torch.linspace(0.6, 1.0, 19):
        scale = (largest * share).bfloat16().float()
        error = ((groups / scale).round().clamp(-8, 7) * scale - groups).square().sum(-1, keepdim=True)
        best = error.minimum(best)
    scale = largest.bfloat16().float()
    assert relative(dequantise(*quantise(weight)).float()) == pytest.approx(0.090, abs=0.001)
    assert relative((groups / scale).round().clamp(-8, 7) * scale) == pytest.approx(0.108, abs=0.001)
    assert (best.sum().sqrt() / weight.norm()).item() == pytest.approx(0.095, abs=0.001), "positive scales"


@pytest.mark.parametrize("value", [0.0, 1e-38, -1e-40])
def test_a_group_of_zeros_stays_zeros(value: float) -> None:
    weight = torch.full((2, 64), value)
    words, scales = quantise(weight)
    found = dequantise(words, scales)
    assert bool(found.isfinite().all()) and bool((found.float().abs() <= 1e-37).all())


def test_rows_do_not_depend_on_the_block_they_are_in(monkeypatch: Any) -> None:
    weight = drawn(7, 128, 3)
    whole = quantise(weight)
    monkeypatch.setattr(int4, "BLOCK", 256)
    assert all(torch.equal(*pair) for pair in zip(quantise(weight), whole, strict=True))
