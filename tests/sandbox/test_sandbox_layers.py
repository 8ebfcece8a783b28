"""What the two system-call filters decide together."""

from __future__ import annotations

import struct

import pytest

from azr.sandbox import seccomp

ALLOW, KILL, EPERM = 0x7FFF0000, 0x80000000, 0x00050001
HARSHEST = (KILL, EPERM, ALLOW)
READ_ONLY, WRITE, EXECUTABLE = (0,) * 6, (1,) * 6, (4,) * 6


def decide(filter_code: bytes, arch: int, number: int, arguments: tuple[int, ...]) -> int:
    """What the kernel's classic BPF machine returns for a call."""
    code = [struct.unpack_from("<HBBI", filter_code, start) for start in range(0, len(filter_code), 8)]
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments)
    position = value = 0
    while True:
        operation, then, otherwise, constant = code[position]
        position += 1
        if operation == 0x06:
            return constant
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        else:
            holds = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[
                operation
            ]
            position += then if holds else otherwise


def expected(machine: str, randomness: bool, number: int, arguments: tuple[int, ...]) -> int:
    column = seccomp._COLUMN[machine]
    if number in [numbers[column] for numbers in seccomp.FATAL.values()]:
        return KILL
    if number in [numbers[column] for numbers in seccomp.ALLOWED.values()] or (
        randomness and number == seccomp.GETRANDOM[column]
    ):
        return ALLOW
    if number in [numbers[column] for numbers in seccomp.NO_EXECUTABLE.values()]:
        return EPERM if arguments[2] & 4 else ALLOW
    for numbers in seccomp.FATAL_TO_WRITE.values():
        if number == numbers[column]:
            return KILL if arguments[numbers[2]] & 3 else EPERM
    return EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("randomness", [False, True])
def test_program_and_zygote_filter_together_decide_as_the_tables_say(machine, randomness):
    filters = (seccomp.zygote_filter(machine), seccomp.program_filter(machine, randomness=randomness))

    def together(arch: int, number: int, arguments: tuple[int, ...]) -> int:
        return min((decide(code, arch, number, arguments) for code in filters), key=HARSHEST.index)

    for number in range(600):
        for arguments in (READ_ONLY, WRITE, EXECUTABLE):
            found = together(seccomp.AUDIT_ARCH[machine], number, arguments)
            assert found == expected(machine, randomness, number, arguments), (number, arguments)
        assert together(seccomp.AUDIT_ARCH[machine] ^ 1, number, READ_ONLY) == KILL
    if machine == "x86_64":
        assert together(seccomp.AUDIT_ARCH[machine], 0x40000000, READ_ONLY) == KILL
