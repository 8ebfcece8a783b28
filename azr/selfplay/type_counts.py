"""How often values of each type occurred among inputs, outputs and errors; bounded."""

from __future__ import annotations

from typing import Any

from azr.sandbox.values import ValueReadError, parse_literal
from azr.system.hashes import text_hash

MAX_VALUES = 20_000
"""Distinct values remembered per kind; beyond it the ones seen once go, oldest first."""


def type_of(text: str) -> str:
    """Type name of a literal text; a bare comma list is a tuple; what is not a literal counts as str."""
    try:
        return type(parse_literal(text)).__name__
    except ValueReadError:
        return "str"


class TypeCounts:
    """kind -> type -> value -> count."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, dict[str, int]]] = {}
        self._totals: dict[str, dict[str, int]] = {}
        """Sums of the above, kept up to date: kind -> type -> count."""

    def add(self, kind: str, text: str) -> None:
        name = type_of(text)
        values = self._counts.setdefault(kind, {}).setdefault(name, {})
        totals = self._totals.setdefault(kind, {})
        key = text_hash(text, 12)
        values[key] = values.get(key, 0) + 1
        totals[name] = totals.get(name, 0) + 1
        if len(values) > MAX_VALUES:
            once = [value for value, count in values.items() if count == 1]
            for value in once[: MAX_VALUES // 10] or list(values)[: MAX_VALUES // 10]:
                totals[name] -= values.pop(value)

    def rarity(self, kind: str, text: str, *, hierarchical: bool) -> float:
        """1 for what was never seen, towards 0 for what is everywhere (the diversity term)."""
        name = type_of(text)
        count = self._counts.get(kind, {}).get(name, {}).get(text_hash(text, 12), 0)
        totals = self._totals.get(kind, {})
        total, own_total = sum(totals.values()), totals.get(name, 0)
        if not total:
            return 1.0
        if not hierarchical:
            return 1.0 - count / total
        return 0.5 * (1.0 - own_total / total) + 0.5 * (1.0 - (count / own_total if own_total else 0.0))

    def metrics(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for kind, types in self._counts.items():
            found[f"types/{kind}/distinct_types"] = float(len(types))
            found[f"types/{kind}/distinct_values"] = float(sum(len(values) for values in types.values()))
            found[f"types/{kind}/count"] = float(sum(self._totals[kind].values()))
        return found

    def to_json(self) -> dict[str, Any]:
        return self._counts

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> TypeCounts:
        counts = cls()
        counts._counts = {
            kind: {name: dict(values) for name, values in types.items()} for kind, types in record.items()
        }
        counts._totals = {
            kind: {name: sum(values.values()) for name, values in types.items()}
            for kind, types in counts._counts.items()
        }
        return counts
