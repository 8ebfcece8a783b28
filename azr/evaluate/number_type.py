"""The number type that this machine computes in: bfloat16 where it is native, because emulated it is many
times slower."""

from __future__ import annotations

from azr.system.boards import BF16_CAPABILITY
from azr.system.hardware import Machine

BF16_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As /proc/cpuinfo names them: x86 vectors, x86 tiles, Arm."""


def number_type(wanted: str, machine: Machine, flags: frozenset[str]) -> str:
    """The type to evaluate in, where ``wanted`` is the one that the model's run or the default asks for.

    Float32 is kept everywhere. The half types become float32 on a processor that lacks them, and float16 on a
    card before sm_80.
    """
    if wanted == "float32":
        return wanted
    if not machine.gpus:
        return "bfloat16" if wanted == "bfloat16" and flags & BF16_CPU_FLAGS else "float32"
    capabilities = [gpu.compute_capability for gpu in machine.gpus]
    return "float16" if any(each and each < BF16_CAPABILITY for each in capabilities) else wanted
