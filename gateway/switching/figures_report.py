"""The daily figures of switching (R43), told once a day, after midnight.

Used by the core alone.
"""

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta

from gateway.disconnection.figures import DAYS, Figures, Spread
from gateway.disconnection.relay import Times
from gateway.north import contract_supply as told
from gateway.north.words import Clock
from gateway.recorder import Recorder
from gateway.store.database import Database
from gateway.store.figures import figures

TOLD = "supply told"
"""The stored day of the last message."""
DAY_S = 86_400.0


class FiguresReport:
    """Tells one gateway's figures."""

    def __init__(
        self,
        gateway: str,
        times: Times,
        database: Database,
        recorder: Recorder,
        day_of: Callable[[float], date],
    ) -> None:
        self._gateway = gateway
        self._times = times
        self._database = database
        self._recorder = recorder
        self._day_of = day_of
        self._asked = ""

    def tick(self, wall: float) -> None:
        """Tell yesterday's, if that was not done yet.  ``wall`` is Unix time, by a known clock."""
        day = (self._day_of(wall) - timedelta(days=1)).isoformat()
        if day > self._asked:
            self._asked = day
            self._recorder.later(lambda: self._tell(day, wall))

    def _tell(self, day: str, wall: float) -> None:
        if (self._database.meta(TOLD) or "") >= day:
            return
        self._database.set_meta(TOLD, day)
        found = figures(self._database, wall - DAYS * DAY_S, wall, self._times.late_s)
        at, clock = self._recorder.stamp()
        self._recorder.supply(lambda seq: self._message(seq, day, (at, clock), found))

    def _message(self, seq: int, day: str, stamp: tuple[str, Clock], found: Figures) -> told.Supply:
        at, clock = stamp
        return told.Supply(
            gateway=self._gateway,
            epoch=self._recorder.epoch,
            lane="urgent",
            seq=seq,
            day=day,
            at=at,
            clock=clock,
            days=DAYS,
            trips=found.trips,
            cuts=found.cuts,
            restores=found.restores,
            wrong_cuts=found.wrong_cuts,
            late_restores=found.late_restores,
            late_after_s=self._times.late_s,
            waiting=found.waiting,
            cut=_spread(found.cut),
            restore=_spread(found.restore),
            refused=tuple(
                told.RefusedCuts(rule=rule, check=check, count=count)
                for rule, check, count in found.refused
            ),
        )


def _spread(found: Spread | None) -> told.Spread | None:
    return told.Spread(**asdict(found)) if found else None
