"""The demo's live view: what the gateway says of itself beside what the head-end received.

Pure: states in, lines of text out; ``Screen`` alone writes to a terminal.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TextIO

from gateway.livestate import LineState, MeterState, State
from gateway.prepayment.money import yuan
from gateway.technician.demo_books import Standing
from gateway.technician.status import age
from simulators.ledger import Last, Summary

ALTERNATE, NORMAL = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, LINE_END, REST = "\x1b[H", "\x1b[K", "\x1b[J"
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
TURN_S = 5.0
"""In a low window the hints take turns."""


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of the meters' table."""

    title: str
    width: int
    right: bool = False
    drop: int = 0
    """In a narrow window the highest goes first; 0 stays."""


_COLUMNS = (
    _Column("meter", 5),
    _Column("line", 6, drop=7),
    _Column("address", 12, drop=8),
    _Column("model", 26, drop=10),
    _Column("import kWh", 11, right=True),
    _Column("export kWh", 11, right=True, drop=11),
    _Column("voltage V", 9, right=True, drop=1),
    _Column("power W", 10, right=True, drop=2),
    _Column("read", 8, right=True),
    _Column("account", 7, drop=6),
    _Column("balance", 8, right=True, drop=3),
    _Column("lasts", 5, right=True, drop=5),
    _Column("alert", 8, drop=4),
    _Column("last top-up", 11, right=True, drop=9),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Everything the view shows, as it is now."""

    now: float
    """Unix time."""
    elapsed_s: float
    broker: str
    state: State | None
    """What the gateway wrote last; None before the first time."""
    meters: dict[str, Last]
    """What the head-end knows of each meter."""
    summary: Summary
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """What the head-end knows of each prepaid customer, by meter."""
    sold: int = 0
    """Payments so far."""
    cut: str = ""
    """How the one disconnection stands."""
    hint: str = ""
    """How to stop it, or what it is doing."""
    more: tuple[str, ...] = ()
    """What else is worth knowing."""


def _columns(width: int) -> list[int]:
    """Which columns fit."""
    kept = list(range(len(_COLUMNS)))
    while sum(_COLUMNS[n].width + 1 for n in kept) > width:
        worst = max(kept, key=lambda n: _COLUMNS[n].drop)
        if not _COLUMNS[worst].drop:
            break
        kept.remove(worst)
    return kept


def _row(cells: Sequence[str], kept: Sequence[int]) -> str:
    texts = []
    for n in kept:
        column = _COLUMNS[n]
        text = cells[n][: column.width]
        texts.append(text.rjust(column.width) if column.right else text.ljust(column.width))
    return " ".join(texts).rstrip()


def _meter(meter: MeterState, moment: Moment) -> tuple[str, ...]:
    last = moment.meters.get(meter["asset"])
    values = last.values if last else {}
    read = "-"
    if last:
        read = age(moment.now - datetime.fromisoformat(last.taken).timestamp())
    return (
        meter["asset"],
        meter["line"],
        meter["address"],
        meter["model"],
        _number(values.get("energy_active_import"), 2),
        _number(values.get("energy_active_export"), 2),
        _number(values.get("voltage_l1n"), 1),
        _number(values.get("power_active"), 1),
        "silent" if meter["silent"] else read,
        *_money(moment.standings.get(meter["asset"])),
    )


def _money(standing: Standing | None) -> tuple[str, ...]:
    """The columns of a prepaid customer."""
    if standing is None:
        return ("",) * 5
    return (
        standing.account,
        f"{Decimal(standing.balance_e4).scaleb(-4):.2f}",
        "-" if standing.days_left is None else f"{standing.days_left} d",
        standing.alert,
        standing.last_top_up,
    )


def till(moment: Moment) -> str:
    """The prepaid customers in one line."""
    found = moment.standings.values()
    left = yuan(sum(one.balance_e4 for one in found))
    low = sum(bool(one.alert) for one in found)
    return f"{len(found)} accounts, {left} yuan left, {low} low, {moment.sold} top-ups sold"


def _number(text: str | None, decimals: int) -> str:
    """An exact decimal with the digits that a glance can take in."""
    return f"{Decimal(text):.{decimals}f}" if text else "-"


def _line(line: LineState) -> str:
    if not line["up"]:
        return f"{line['name']}: down: {line['reason']}"
    faults = ", ".join(f"{n} {kind}" for kind, n in line["faults"].items() if n) or "no errors"
    return f"{line['name']}: in use {line['use']:.0%}, {line['exchanges']} exchanges, {faults}"


def flow(moment: Moment) -> str:
    """The way of the readings in one line, from the meters to the head-end."""
    state, summary = moment.state, moment.summary
    if state is None:
        return "the gateway is starting"
    return (
        f"{state['readings_taken']} readings, {state['messages_stored']} messages stored,"
        f" {state['messages_delivered']} delivered, {summary.messages} received,"
        f" {summary.gaps} gaps"
    )


def plain(moment: Moment) -> str:
    """The whole moment in one line, for a log."""
    uses = [f"{x['name']} {x['use']:.0%}" for x in moment.state["lines"]] if moment.state else []
    parts = [f"{moment.elapsed_s:.0f} s", f"{len(moment.meters)} meters", flow(moment), *uses]
    parts += [till(moment), moment.cut]
    return ", ".join(parts)


def page(moment: Moment, width: int, height: int) -> list[str]:
    """The live view for a window of this size; its first line is the title."""
    kept = _columns(width)
    meters = moment.state["meters"] if moment.state else []
    top = [f"taiqu demo, {moment.elapsed_s:.0f} s: {till(moment)}", *filter(None, [moment.cut])]
    room = height - 3 - len(top) - len(meters)
    foot = _foot(moment, width, room)
    spare = room - len(foot)
    if spare < 0:
        shown = max(0, len(meters) + spare - 1)
        foot.insert(0, f"... {len(meters) - shown} meters more; make the window higher")
        meters = meters[:shown]
    rows = [_row(_meter(x, moment), kept) for x in meters]
    head = _row([column.title for column in _COLUMNS], kept)
    hints = [moment.hint, *moment.more]
    if spare < len(moment.more):
        turn = int(moment.elapsed_s / TURN_S) % len(hints)
        hints = hints[turn : turn + 1]
    # Air between the parts, where the window has room for it.
    airs = [[""] if spare > len(hints) - 1 + n else [] for n in range(3)]
    lines = [*top, *airs[0], head, *rows, *airs[1], *foot, *airs[2], *hints]
    return [line[:width] for line in lines[: max(1, height - 1)]]


def _foot(moment: Moment, width: int, room: int) -> list[str]:
    """The lines, the way of the readings, and the link; this where there is room, or trouble."""
    state = moment.state
    if state is None:
        return [flow(moment)]
    link = state["link"]
    way = "connected" if link["up"] else f"not connected: {link['reason']}"
    gateway = f"{moment.broker}: {way}; clock {state['clock']}; epoch {state['epoch']}"
    foot = [*map(_line, state["lines"]), *_wrapped(flow(moment), width)]
    return foot if link["up"] and len(foot) >= room else [*foot, gateway]


def _wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines no longer than ``width``, broken at commas."""
    lines = [""]
    for part in text.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(longer) <= width - 1:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines


class Screen:
    """Shows moments: live in a terminal, else one line now and then."""

    PLAIN_EVERY_S = 5.0

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._last: list[str] = []
        self._next_s = 0.0
        if self._live:
            out.write(ALTERNATE)

    def show(self, moment: Moment) -> None:
        """Draw it anew, or write a line if the last one is some seconds old."""
        if self._live:
            width, height = shutil.get_terminal_size()
            self._last = page(moment, width, height)
            title, *rest = self._last
            self._out.write(HOME + BOLD + title + PLAIN + LINE_END)
            self._out.write("".join(f"\r\n{line}{LINE_END}" for line in rest) + REST)
        elif moment.elapsed_s >= self._next_s:
            self._next_s = moment.elapsed_s + self.PLAIN_EVERY_S
            self._out.write(plain(moment) + "\n")
        self._out.flush()

    def close(self) -> None:
        """Give the terminal back, with the last page on it."""
        if self._live:
            self._out.write(NORMAL + "".join(f"{line}\n" for line in self._last))
            self._out.flush()
        self._live = False
