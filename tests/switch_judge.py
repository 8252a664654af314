"""The judge of the torture: the invariants of switching, from outside.

He sees what a neighbour, a customer and a wire tap see: control frames, meters, money, notices,
approvals, the almanac, what was published.  He never looks at the procedure's own state.

What is written down and told he leaves to the auditor (tests/switch_auditor.py).
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.disconnection.facts import Facts, from_json, to_json
from gateway.disconnection.preflight import Decision, preflight
from gateway.disconnection.relay_table import Signal as Seen
from gateway.prepayment.account import Class, Mode, Regime
from tests.switch_street import DAY, HOUR, Home, Look, friendly

MINUTE = 60.0
ON_THE_WAY_S = 25.0
"""From the decision to the wire: what changes meanwhile, and is no payment, protection or stop."""
LEAD_S = {
    (Regime.CONTRACT_PREPAY, Class.ORDINARY): 2 * HOUR,
    (Regime.CONTRACT_PREPAY, Class.VULNERABLE): DAY,
    (Regime.STATUTORY, Class.ORDINARY): 7 * DAY,
    (Regime.STATUTORY, Class.VULNERABLE): 7 * DAY,
}
PERSONS = {(Regime.STATUTORY, Class.VULNERABLE): 2}
MOST_CUTS = ((10 * MINUTE, 3), (HOUR, 10), (DAY, 3))
"""Of 64 accounts: 5 % a day are three."""
MOST_DUE = 6
"""10 % of them within ten minutes are no coincidence."""

TICKS_MAX = 5000
"""Of a day; the restores of a whole shed street need some thousand."""


class WrongError(AssertionError):
    """An invariant does not hold."""


@dataclass
class Outside:
    """The gateway's surroundings, as anybody can see them; the world keeps it up to date."""

    started_at: float = 0.0
    back_online_at: float | None = None
    """After a long time offline."""
    stopped_at: float | None = None
    changed_at: float = 0.0
    """Of weather, calendar, broker."""
    trusted: bool = True
    sound: bool = True
    dry_run: bool = False
    calendar_known: bool = True
    bad_weather: bool = False
    drained: bool = True
    online: bool = True
    strained_at: float | None = None
    """Since when the area's meter has told of too much current or too little voltage."""


@dataclass
class File:
    """What the judge noted of one home."""

    round: int = 0
    cleared_at: float = 0.0
    """When the balance was above its limit last: an older notice says nothing any more."""
    ended_at: float = 0.0
    """When something last ended any case there was: a payment, protection, dispute, mode, swap."""
    written_at: float | None = None
    notice_at: float | None = None
    last_calls: tuple[float, ...] = ()
    changed_at: float = 0.0
    number_at: float | None = None
    read_at: float = 0.0
    quiet_from: float = 0.0
    """Since when its register has not moved while it said open."""
    energy_mj: int = -1
    trips: list[float] = field(default_factory=list)
    """First frames of trips, and of restores: operations."""
    closes: list[float] = field(default_factory=list)
    open_since: float | None = None
    """A trip was sent and no close since."""
    tries: int = 0
    tried_at: float = 0.0
    welded: bool = False
    told_open: bool = False
    owed_from: float | None = None
    """Supply has been owed since."""
    dark_from: float | None = None
    """Since when supply has been owed and was not proven."""
    orders: list[tuple[str, float]] = field(default_factory=list)


class Judge:
    """Raises WrongError."""

    def __init__(self) -> None:
        self.outside = Outside()
        self.files: dict[str, File] = defaultdict(File)
        self.cuts: list[float] = []
        self.cut_by: dict[str, str] = {}
        self.due: list[float] = []
        self.closes: list[tuple[float, str, str]] = []
        self.latched = False
        self.refused: dict[str, int] = defaultdict(int)
        self.count: dict[str, int] = defaultdict(int)
        self.replayed = 0
        self.took: dict[str, list[float]] = defaultdict(list)
        """Seconds from the balance at its limit to a proven cut, from payment to proven supply."""

    # --- what he is told ----------------------------------------------------------------------

    def books(self, home: Home, at: float) -> None:
        """The money or the standing of a home changed, and the gateway knows it."""
        standing, file = home.standing, self.files[home.number]
        if home.balance_e4 > home.beyond_e4:
            file.cleared_at = file.ended_at = at
        if _harmed(home) or standing.dispute or standing.mode is not Mode.PREPAY_CUT:
            file.ended_at = at

    def swapped(self, home: Home, at: float) -> None:
        """A home got another meter."""
        self.files[home.number].ended_at = at

    def polled(self, home: Home, found: Look, at: float) -> None:
        file = self.files[home.number]
        file.read_at = at
        file.owed_from = None
        file.number_at = at if found.number == home.meter.address else None
        if found.seen is not Seen.SEEN_OPEN or found.energy_mj != file.energy_mj:
            file.quiet_from = at
        file.energy_mj = found.energy_mj

    def notice(self, home: Home, at: float, round_: int) -> None:
        """Written and sent; not delivered yet.  ``round_`` stands on it."""
        file = self.files[home.number]
        file.written_at, file.notice_at, file.last_calls = at, None, ()
        self.due = [one for one in self.due if one > at - 10 * MINUTE]
        if round_ != file.round:
            self.due.append(at)
        file.round = round_
        self.latched = self.latched or len(self.due) > MOST_DUE

    def said(self, home: Home, what: str, at: float) -> None:
        """A report."""
        file = self.files[home.number]
        if what.startswith("open"):
            file.told_open = True
            self._must(at - file.quiet_from >= 300, "R27", home, at, "open, but not watched")
            self._must(not home.meter.relay.conducts, "R27", home, at, "open, but it conducts")
            if "proven" in what:
                self.count["proven"] += 1
                self.took["cut"].append(at - file.cleared_at)
        elif what in ("closed", "allowed") and file.dark_from is not None:
            self.took["restore"].append(at - file.dark_from)
            file.dark_from = None
        file.welded = file.welded or what == "weld_or_bypass"

    def visited(self, home: Home) -> None:
        """A technician was there: what was tried before is over."""
        file = self.files[home.number]
        file.welded, file.tries, file.open_since, file.tried_at = False, 0, None, 0.0

    def decided(self, facts: Facts, decision: Decision) -> None:
        for one in decision.failed:
            self.refused[one.code] += 1
        self.replayed += 1
        if self.replayed % 16 == 0:
            again = preflight(from_json(to_json(facts)))
            self._must(again == decision, "R44", None, facts.at, "decided otherwise on replay")

    def owed(self, home: Home, at: float, *, wrong: bool = False) -> bool:
        """Whether supply is owed to this home from now on: for money, for protection, or since it
        was ``wrong`` to cut it (R37).
        """
        file, standing = self.files[home.number], home.standing
        enough = home.balance_e4 >= home.policy.close_allowed_e4 or wrong
        harmed = _harmed(home)
        agreed = standing.mode is Mode.PREPAY_AGREEMENT
        home.meter.pass_time(at)
        relay = home.meter.relay
        # Where it says allowed the customer has only to press the button; whether it is stuck then,
        # nobody can see from here.
        conducts = relay.conducts or relay.protected
        says_allowed = relay.told_open and not relay.commanded_open
        closed = relay.state == "closed"
        dark = not (conducts or says_allowed) if closed else relay.state != "allowed"
        by_rules = self.cut_by.get(home.number) == "arrears" and file.open_since is not None
        if by_rules and dark and (enough or harmed or agreed):
            if file.owed_from is None:
                file.owed_from = at
            file.dark_from = file.dark_from or at
            return True
        return False

    def too_late(self, home: Home, since: float, now: float) -> bool:
        """60 s; longer behind other restores, and for the second restore of a day."""
        file = self.files[home.number]
        if file.owed_from != since:
            return False
        others = any(at > since - MINUTE and one != home.number for at, _, one in self.closes)
        near = any(at > since - DAY for at in file.closes)
        limit_s = MINUTE + 600 * others + 600 * near
        return now > since + limit_s

    def late(self, home: Home, since: float, now: float) -> None:
        """A restore that is owed must be on its way by now, whatever else is so."""
        box = self.outside
        free = box.online and box.trusted and box.calendar_known and box.stopped_at is None
        rule = "R32" if free else "R33"
        self._must(not self.too_late(home, since, now), rule, home, now, f"owed since {since:.3f}")

    def bounded(self, ticks: int, now: float) -> None:
        """No case has the gateway look again and again all day: each look is a transaction."""
        self._must(ticks < TICKS_MAX, "-", None, now, f"{ticks} ticks in a day")

    # --- frames -------------------------------------------------------------------------------

    def close(self, home: Home, at: float, *, direct: bool) -> None:
        file = self.files[home.number]
        self._must(not direct or home.direct, "R35", home, at, "closed directly")
        first = file.open_since is not None
        if first:
            self.closes = [one for one in self.closes if one[0] > at - DAY]
            same = [one for one in self.closes if one[0] > at - MINUTE and one[1] == home.phase]
            waited_s = at - (file.owed_from or at)
            # Two a minute had their turn; how long each waits for the line is not the same.
            spread = len(same) < 4 or waited_s >= 600
            self._must(spread, "R36", home, at, f"{len(same)} restores of phase {home.phase}")
            self._paused(home, at, waited_s)
            self.closes.append((at, home.phase, home.number))
            file.closes.append(at)
            self.count["restore"] += 1
        elif file.tried_at and file.tried_at < self.outside.started_at:
            # Its first try was before the restart.
            seen = file.read_at >= self.outside.started_at
            self._must(seen, "R38", home, at, "switched after a restart without a look")
        file.open_since = file.owed_from = None
        file.tried_at = at

    def _paused(self, home: Home, at: float, waited_s: float) -> None:
        """One restore a minute while the area is strained; one more may have been on its way."""
        box = self.outside
        if box.strained_at is None or waited_s >= 600:
            return
        if at - max(box.strained_at, box.started_at + 2 * MINUTE) < MINUTE + ON_THE_WAY_S:
            return  # not long known
        near = sum(one > at - MINUTE for one, _, _ in self.closes)
        self._must(near < 2, "R36", home, at, f"{near} restores in a minute of a strained area")

    def unprotect(self, home: Home, at: float) -> None:
        """保电 is released: the meter may trip by itself from now on."""
        self.count["unprotect"] += 1
        file = self.files[home.number]
        lead_s = LEAD_S.get((home.standing.regime, home.standing.class_), math.inf)
        noticed = file.notice_at is not None and at - file.notice_at >= lead_s - ON_THE_WAY_S
        written_at = file.written_at or 0.0
        # A payment that is not enough, while the frame is on its way, comes too late for it.
        cleared_at = file.cleared_at if file.cleared_at < at - ON_THE_WAY_S else 0.0
        fresh = noticed and written_at >= max(home.worsened_at or 0.0, cleared_at)
        within = home.balance_e4 > home.policy.limit_e4
        # Nothing is taken from who was cut already, and has paid a part since.
        dark = file.open_since is not None and not home.meter.relay.conducts
        right = within or fresh or dark
        self._must(right, "R20", home, at, "no fresh notice, and beyond the limit")

    def trip(self, home: Home, at: float) -> None:
        file = self.files[home.number]
        repeated = file.open_since is not None
        if repeated:
            file.tries += 1
            self._must(file.read_at > file.tried_at, "R28", home, at, "repeated unseen")
            self._must(file.tries <= 3, "R28", home, at, f"try {file.tries}")
        else:
            file.tries = 1
            self._operations(home, file, at)
            self.cuts = [one for one in self.cuts if one > at - DAY] + [at]
            file.trips.append(at)
        until = max((until for _, until in file.orders), default=0.0)
        ordered = until > at - ON_THE_WAY_S
        wrong = [*self._always(home, file, at)]
        arrears = [*self._arrears(home, file, at)]
        for rule, text in [*wrong, *([] if ordered else arrears)]:
            self._must(False, rule, home, at, text)
        file.open_since = file.open_since or at
        file.tried_at = at
        if not repeated:
            self.cut_by[home.number] = "order" if arrears or ordered else "arrears"
            self.count["trip"] += 1

    def _operations(self, home: Home, file: File, at: float) -> None:
        done = [one for one in (*file.trips, *file.closes) if one > at - DAY]
        self._must(len(done) < 4, "R31", home, at, f"{len(done)} operations in a day")
        last = max(done, default=0.0)
        self._must(at - last >= 600 - ON_THE_WAY_S, "R31", home, at, "too soon after the last")

    def _always(self, home: Home, file: File, at: float) -> Iterator[tuple[str, str]]:
        """What holds for every trip."""
        box, standing = self.outside, home.standing
        settled = box.changed_at < at - ON_THE_WAY_S
        harmed = _harmed(home)
        hours = (n * HOUR / 2 for n in range(9))
        night = any(friendly(at + one - ON_THE_WAY_S * (one > 0)) for one in hours)
        starts = [one for one in (box.started_at, box.back_online_at) if one is not None]
        number_age_s = at - (file.number_at or 0.0)
        unprotected_s = at - (home.unprotected_at or 0.0)
        stopped_s = at - box.stopped_at if box.stopped_at is not None else 0.0
        address = home.meter.address
        checks = (
            ("R01", "to many", not address.isdigit() or address == "9" * 12),
            ("R02", "the number was not read", number_age_s > 120 + ON_THE_WAY_S),
            ("R08", "protected", harmed),
            ("R09", "protection ended only now", unprotected_s < DAY - ON_THE_WAY_S),
            ("R12", "disputed", standing.dispute and file.changed_at < at - ON_THE_WAY_S),
            ("R13", "a protected time", settled and night),
            ("R13", "weather", settled and (box.bad_weather or not box.calendar_known)),
            ("R15", "a clock that nobody trusts", not box.trusted),
            ("R16", "the journal is damaged", settled and not box.sound),
            ("R22", "latched", self.latched),
            ("R23", "the broker still holds top-ups", settled and not box.drained),
            ("R23", "the quiet period", any(at - one < 2 * HOUR - 1 for one in starts)),
            ("R25", "the stop switch is on", stopped_s > 1),
            ("R29", "known to conduct though open", file.welded),
            ("R42", "a dry run", settled and box.dry_run),
        )
        yield from ((rule, text) for rule, text, wrong in checks if wrong)
        for window_s, most in MOST_CUTS:
            # A first try that never left is counted from its decision on.
            if sum(one > at - window_s + 2 * MINUTE for one in self.cuts) > most:
                yield "R21", f"more than {most} cuts in {window_s / 60:.0f} minutes"

    def _arrears(self, home: Home, file: File, at: float) -> Iterator[tuple[str, str]]:
        """What holds for a trip that no person ordered."""
        standing, key = home.standing, (home.standing.regime, home.standing.class_)
        settled = file.changed_at < at - ON_THE_WAY_S
        subject = standing.mode is Mode.PREPAY_CUT and key in LEAD_S
        certain_e4 = home.balance_e4 + home.provisional_e4
        provisional = home.provisional_e4 and certain_e4 > home.beyond_e4
        lead_s, notice_s = LEAD_S.get(key, 7 * DAY) - ON_THE_WAY_S, at - (file.notice_at or at)
        written_at = file.written_at or 0.0
        overdue = at - file.cleared_at >= 30 * DAY - ON_THE_WAY_S
        called = any(1800 <= at - one <= 4 * HOUR + ON_THE_WAY_S for one in file.last_calls)
        in_time = lead_s <= notice_s <= 30 * DAY + ON_THE_WAY_S
        checks = (
            ("R08", f"{standing.mode} {key}", settled and not subject),
            ("R10", "no notice in time", file.notice_at is None or not in_time),
            ("R10", "the notice was about an older debt", written_at < file.cleared_at),
            ("R10", "no last call in time", not called),
            ("R10", "not overdue", standing.regime is Regime.STATUTORY and not overdue),
            ("R11", "nobody agreed", self._agreed(home, at) < PERSONS.get(key, 1)),
            ("R14", "provisional charges", settled and bool(provisional)),
            ("R14", "old readings", at - home.reading_at > 48 * HOUR + ON_THE_WAY_S),
            ("R17", f"balance {home.balance_e4}", home.balance_e4 > home.beyond_e4),
            ("R18", "the notice is older than what ended its case", written_at < file.ended_at),
            ("R19", "changed after the notice", written_at < (home.worsened_at or 0.0)),
        )
        yield from ((rule, text) for rule, text, wrong in checks if wrong)

    @staticmethod
    def _agreed(home: Home, at: float) -> int:
        contract = home.standing.regime is Regime.CONTRACT_PREPAY
        ordinary = home.standing.class_ is Class.ORDINARY
        return len(
            {
                one.by
                for one in home.approvals
                if one.not_before <= at < one.expires + ON_THE_WAY_S
                and one.debt_max_e4 >= -home.balance_e4
                and (one.account == home.number or (one.account is None and contract and ordinary))
            }
        )

    @staticmethod
    def _must(holds: bool, rule: str, home: Home | None, at: float, text: str) -> None:
        if not holds:
            who = home.number if home else "-"
            raise WrongError(f"{rule} {who} at {at:.3f}: {text}")


def _harmed(home: Home) -> bool:
    standing = home.standing
    critical = standing.class_ in (Class.CRITICAL, Class.LIFE_SUPPORT)
    return standing.no_cut is not None or critical
