"""How well supply was cut and restored, in a few lines (R43)."""

from gateway.disconnection.facts import DAY_S
from gateway.disconnection.figures import DAYS, Figures, Spread
from gateway.store.connection import Connection
from gateway.store.figures import figures


def summary(file: Connection, now: float, late_s: float) -> str:
    """How well supply was cut and restored in the last days, in a few lines."""
    found = figures(file, now - DAYS * DAY_S, now, late_s)
    return _summary(found, late_s)


def _summary(found: Figures, late_s: float) -> str:
    refused = ", ".join(f"{rule} {check} {count}" for rule, check, count in found.refused)
    counts = (
        f"last {DAYS} days: {found.trips} trips, {found.cuts} cuts proven, {found.wrong_cuts} wrong"
        f"; {found.restores} restores, {found.late_restores} later than {late_s / 60:.0f} min,"
        f" {found.waiting} wanted now"
    )
    lines = (
        counts,
        f"zero to cut: {_took(found.cut)}; payment to supply: {_took(found.restore)}",
        f"refused cuts: {refused or 'none'}",
    )
    return "\n".join(lines)


def _took(found: Spread | None) -> str:
    if found is None:
        return "none"
    times = (found.p50_s, found.p99_s, found.max_s)
    p50, p99, longest = map(_duration, times)
    return f"p50 {p50}, p99 {p99}, at most {longest}"


def _duration(seconds: int) -> str:
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds} s"
