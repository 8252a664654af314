"""What a bench says: one figure a line, beside what was aimed at."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


class BenchError(Exception):
    """A bench could not be run to its end.  Says what was missing or did not happen in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.  Without an aim it is there for information."""

    bench: str
    figure: str
    value: float
    unit: str
    aim: float | None = None
    better: Literal["more", "less"] = "less"
    detail: dict[str, object] = field(default_factory=dict)

    @property
    def meets(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.better == "less" else self.value >= self.aim

    def line(self) -> str:
        """Itself as JSON."""
        sign = "<=" if self.better == "less" else ">="
        shown = {
            "bench": self.bench,
            "figure": self.figure,
            "value": _rounded(self.value),
            "unit": self.unit,
            "aim": None if self.aim is None else f"{sign} {self.aim:g}",
            "meets": self.meets,
            "detail": self.detail,
        }
        return json.dumps(shown)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of ``values`` do not exceed; the nearest one that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _rounded(value: float) -> float:
    """Four digits say more than was measured."""
    return float(f"{value:.4g}")
