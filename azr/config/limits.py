"""Limits that a field's type declares, ``Literal`` or ``Annotated[int, Ge(1)]``: checked here, shown in
docs/configuration.md."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, replace
from enum import Enum
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf

from azr.config.units import number_told
from azr.config.usual_names import usual_value
from azr.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Seconds = Annotated[float, Gt(0), Le(10**9)]
SecondsOrNone = Annotated[float, Ge(0), Le(10**9)]
"""Python cannot sleep for much longer."""
Share = Annotated[float, Ge(0), Le(1)]


class Section:
    """A part of the configuration: a dataclass whose fields' types declare their limits.

    Args:
        place: its dotted name, for messages.
    """

    place: str
    __pydantic_config__: ClassVar[dict[str, bool]] = {"allow_inf_nan": False}

    def __init_subclass__(cls, *, place: str) -> None:
        cls.place = place

    def contradictions(self) -> Iterator[str]:
        """What is wrong between values that are each within their limits: a sentence with key, value and what is right."""
        yield from ()

    def validate(self) -> None:
        """
        Raises:
            ConfigError: a value is not what its field declares, or contradicts another one; names key, value and what
                is right.
        """
        from pydantic import ValidationError

        values = asdict(self)  # type: ignore[call-overload]  (every section is a dataclass)
        try:
            _adapter(type(self)).validate_python(values)
        except ValidationError as error:
            raise ConfigError(sentence(error, type(self), f"{self.place}.")) from None
        for name, value in values.items():
            if isinstance(value, int) and abs(value) >= 1 << 63:
                raise ConfigError(
                    f"{self.place}.{name} is a number of {len(str(value))} digits, with which nothing is computed"
                )
        for wrong in self.contradictions():
            raise ConfigError(wrong)
        for name in values:
            part = getattr(self, name)
            if isinstance(part, Section):
                part.validate()


@cache
def _adapter(section: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(section)


def build(section: type, values: dict[str, Any], place: Callable[[str], str]) -> Any:
    """
    Args:
        place: where a dotted key was written (file and line), for messages; empty if that is not known.

    Raises:
        ConfigError: a value is not what its field declares.
    """
    from pydantic import ValidationError

    try:
        built = _adapter(section).validate_python(values)
    except ValidationError as error:
        raise ConfigError(at(place, ".".join(_key(error))) + sentence(error, section, "")) from None
    for key, value in _truths_as_numbers(built, values):
        raise ConfigError(f"{at(place, key)}{key} is {value}; it must be a number")
    return built


def at(place: Callable[[str], str], key: str) -> str:
    """``FILE, line N: ``, for the beginning of a message; empty where that is not known."""
    found = place(key)
    return f"{found}: " if found else ""


def _truths_as_numbers(built: Any, values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Keys of which pydantic has made 1 of true (YAML's yes and on as well), or 0 of false."""
    for name, value in values.items():
        taken = getattr(built, name)
        if isinstance(value, Mapping):
            yield from _truths_as_numbers(taken, value, f"{prefix}{name}.")
        for given, got in zip(value, taken, strict=True) if isinstance(value, list) else [(value, taken)]:
            if isinstance(given, bool) and isinstance(got, (int, float)) and not isinstance(got, bool):
                yield f"{prefix}{name}", given


def sentence(error: ValidationError, section: type, prefix: str) -> str:
    """The first thing that is wrong, in our words where the field declares a limit, else in pydantic's."""
    first = error.errors()[0]
    names, value = _key(error), first["input"]
    key = prefix + ".".join(names)
    hint = _hint(section, names)
    if len(first["loc"]) > len(names):  # inside of a list
        key, hint = f"{key}: an entry", typing.get_args(_plain(hint))[0]
    if first["type"] == "finite_number":
        return f"{key} is {value}; it must be a finite number"
    if value is None:
        return f"{key} is empty (null); it must have a value"
    wanted = limit_text(hint)
    if wanted and first["type"] in _OF_LIMITS:
        meant = f"; {value:g} % is {value / 100:g}" if _is_share(hint) and 5 <= value <= 100 else ""
        if named := usual_value(value, words_of(hint)):
            meant = f"; write {named}"
        elif str(value).lower() in _OFF and len(first["loc"]) > len(names) and _may_be_empty(section, names):
            meant = f"; none of them is {prefix}{'.'.join(names)}=[]"
        return f"{key} is {value!r}; it {_OBLIGATION.get(wanted, f'must be {wanted}')}{meant}"
    if _plain(hint) is bool:
        return f"{key} is {value!r}; it must be true or false"
    if first["type"] in _NO_NUMBER:
        whole = "int" in first["type"] or _plain(hint) is int
        is_off = wanted.startswith((NOT_NEGATIVE, "from 0 to")) and str(value).lower() in _OFF
        off = ". 0 switches off what can be (docs/configuration.md says what it means)" if is_off else ""
        return (
            f"{key} is {value!r}; it {number_told(key, str(value), whole=whole, share=_is_share(hint))}{off}"
        )
    if first["type"] in ("list_type", "tuple_type") and isinstance(value, str):
        return f"{key} is {value!r}; it must be a list: [{value}]"
    quotes = f"; in a file, text that looks like {type(value).__name__} is quoted"
    told = f"{key} is {value!r}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return told + quotes if first["type"] == "string_type" else told


_OFF = {"off", "no", "none", "null", "never", "false", "disabled", "unlimited", "infinite"}
"""What people type to switch off what a number turns on."""
_NO_NUMBER = {"float_parsing", "float_type", "int_parsing", "int_type", "int_from_float"}
_OF_LIMITS = {
    "greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of", "literal_error", "enum", "string_too_short",
}  # fmt: skip
"""Pydantic's names of what is wrong."""
NOT_NEGATIVE = "0 or more"
NOT_EMPTY = "not empty"
_OBLIGATION = {NOT_NEGATIVE: "cannot be negative", NOT_EMPTY: "cannot be empty"}


def _key(error: ValidationError) -> list[str]:
    return [part for part in error.errors()[0]["loc"] if isinstance(part, str)]


def _hint(section: Any, names: list[str]) -> Any:
    for name in names:
        section = typing.get_type_hints(section, include_extras=True)[name]
    return section


def _plain(hint: Any) -> Any:
    """The hint without null and limits."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def _may_be_empty(section: type, names: Sequence[str]) -> bool:
    """Whether a list may have no entry."""
    *outer, name = names
    owner = section()
    for each in outer:
        owner = getattr(owner, each)
    return not any(replace(owner, **{name: []}).contradictions())


def _is_share(hint: Any) -> bool:
    """Is it a number that cannot be above 1, such as 0.6 for 60 %?"""
    limits = hint.__metadata__ if typing.get_origin(hint) is Annotated and hint.__origin__ is float else ()
    return any(isinstance(item, (Le, Lt)) and astuple(item)[0] <= 1 for item in limits)


def words_of(hint: Any) -> tuple[str, ...]:
    """The words of which a value is one; empty for other values."""
    if isinstance(hint, type) and issubclass(hint, Enum):
        return tuple(str(member.value) for member in hint)
    hint = _plain(hint)
    return tuple(map(str, typing.get_args(hint))) if typing.get_origin(hint) is Literal else ()


def limit_text(hint: Any) -> str:
    """What a value has to be beyond its type: ``one of a, b``, ``at least 1``, ``a share from 0 to 1`` ...;
    empty for no limit."""
    if typing.get_origin(hint) in (typing.Union, UnionType):
        return " or ".join(filter(None, map(limit_text, typing.get_args(hint))))
    if words := words_of(hint):
        return f"one of {', '.join(words)}"
    if typing.get_origin(hint) is not Annotated:
        return ""
    limits = {type(item): astuple(item)[0] for item in hint.__metadata__}
    ends = (limits.get(Ge, limits.get(Gt)), limits.get(Le, limits.get(Lt)))
    share = "a share " if hint.__origin__ is float and ends == (0, 1) else ""
    if Ge in limits and Le in limits:
        text = f"{share}from {limits[Ge]} to {limits[Le]}"
    elif limits.get(Ge) == 0:
        text = NOT_NEGATIVE
    else:
        words = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}
        text = share + ", ".join(f"{word} {limits[kind]}" for kind, word in words.items() if kind in limits)
    text += f", a multiple of {limits[MultipleOf]}" if MultipleOf in limits else ""
    return NOT_EMPTY if MinLen in limits else text
