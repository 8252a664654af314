"""What the lines bring in: replies, signs of life, ports that come and go; and who is told of them.

A finished job belongs to polling, and besides to whoever asked for it: the collection of freezes,
the grid, a trial.  What is then left as a reading goes to the head-end, the live state and the
rooms of money; what was found out about a meter or a line becomes an event.

Used by the core alone.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import structlog

from gateway.acquisition.confirm import Confirmation, limits_of_all
from gateway.acquisition.found import Found, Learned, Reading, Shared, Woke
from gateway.acquisition.line_health import LineTurned, Turned
from gateway.acquisition.polling import Polling
from gateway.acquisition.trials import Trials
from gateway.config import Config
from gateway.events import Doubled, Job, JobDone, Overheard, PortChanged
from gateway.metering import polled
from gateway.metering.collector import Collector, Money
from gateway.metering.doubts import Doubts
from gateway.metering.grid import Grid
from gateway.metering.overview import Overview
from gateway.north import contract
from gateway.recorder import Recorder
from gateway.store.database import Database
from gateway.store.learned import Learned as Refusals
from gateway.store.learned import Refused
from gateway.store.readings import Readings
from gateway.timekeeping import Timekeeper

if TYPE_CHECKING:
    from gateway.switching.room import SwitchingRoom

DAY_S = 86_400.0
REFUSED_S = 30 * DAY_S
"""A meter is asked again what it refused so long ago: it may have been replaced."""

log = structlog.get_logger()


class Intake:
    """The meters' side of one gateway."""

    def __init__(
        self,
        config: Config,
        database: Database,
        recorder: Recorder,
        time: Timekeeper,
        submit: Callable[[str, Job], None],
        random: Random,
        now: float,
        wall: float,
    ) -> None:
        self._recorder = recorder
        self._time = time
        self._refusals = Refusals(database)
        recent = [one for one in self._refusals.refused() if wall - one.at < REFUSED_S]
        known = [(refused.meter, refused.key) for refused in recent]
        self.polling = Polling(config.meters, known, random.random)
        self.overview = Overview(config, now)
        self._trials = Trials(config.meters, self.polling, submit)
        confirmation = Confirmation(limits_of_all(config.meters))
        parts = (self.polling, recorder, submit)
        self._doubts = Doubts(confirmation, *parts)
        state = partial(getattr, time, "state")
        self.grid = Grid(config, database, *parts, state, confirmation, random.random)
        stored = Readings(database)
        self.collector = Collector(config, stored, *parts, state, self.grid, random.random)
        self._money: Money | None = None
        self.switching: SwitchingRoom | None = None
        """Given by the core where relays are switched."""
        self.stirred = True
        """Collection and grid may have something to do."""

    def charge(self, money: Money) -> None:
        """From now on the rooms of money are told what is read."""
        self._money = self.collector.money = money

    def done(self, event: JobDone, now: float, wall: float) -> list[Found]:
        """A job is over; returns what it brought, without what was for us alone."""
        event = self._time.corrected(event, now, wall)
        found = self.polling.done(event, now)
        self.overview.job(event, now)
        self._trials.polled(event, now)
        found, suspect = self._doubts.settle(self._others(event, found, now, wall), now, wall)
        for one in found:
            match one:
                case Reading():
                    self._reading(one, suspect.get(id(one)))
                case Learned(meter, key, reason):
                    log.info("learned of a meter", meter=meter, item=key, reason=reason)
                    refused = Refused(meter, key, reason, wall)
                    self._recorder.later(partial(self._refusals.add, refused))
                case Turned(meter, line, silent, reason):
                    code: contract.EventCode = "comm_lost" if silent else "comm_restored"
                    self._recorder.event(code, meter=meter, line=line, detail=reason)
                case Woke(meter):
                    self.collector.woke(meter, now)
                    self.grid.woke(meter, now)
                    self.stirred = True
                case Shared():
                    self._shared(one)
                case LineTurned(line, fault, reason):
                    code = "line_fault" if fault else "line_restored"
                    self._recorder.event(code, line=line, detail=reason)
        return found

    def heard(self, event: Overheard | Doubled, now: float) -> None:
        """A line heard somebody who was not asked."""
        if isinstance(event, Overheard):
            self.polling.overheard(event.meter, now)
            return
        for shared in self.polling.doubled(event.meter, now):
            self._shared(shared)

    def port_changed(self, event: PortChanged) -> None:
        """A line's port came or went."""
        self.overview.port(event)
        if event.up:
            log.info("line is up", line=event.line)
            self._recorder.event("line_up", line=event.line)
        else:
            log.error("line is down", line=event.line, reason=event.reason)
            self._recorder.event("line_down", line=event.line, detail=event.reason)

    def _others(self, event: JobDone, found: list[Found], now: float, wall: float) -> list[Found]:
        """What is left when collection, grid and trials had theirs: nobody else sees those."""
        learned: list[Learned] = []
        rooms: tuple[Collector | Grid | Money | None, ...] = (
            self.collector,
            self.grid,
            self._money,
        )
        asker = next((room for room in rooms if room and room.asked(event)), None)
        if asker:
            asker.done(event, found, now, wall)
        elif self._trials.asked(event):
            learned = self._trials.done(event)
        elif self.switching and self.switching.asked(event):
            self.switching.done(event, found, now, wall)
        else:
            return found
        self.stirred = True
        return [*(one for one in found if not isinstance(one, Reading)), *learned]

    def _shared(self, shared: Shared) -> None:
        log.error("who is at an address", meter=shared.meter, reason=shared.detail)
        code: contract.EventCode = "address_shared" if shared.shared else "address_restored"
        self._recorder.event(code, shared.meter, shared.line, shared.detail)

    def _reading(self, reading: Reading, suspect: tuple[str, ...] | None) -> None:
        self.overview.values(reading.meter, reading.values)
        if self._money:
            self._money.seen(reading.meter, reading.values, reading.taken_at)
        if self.switching:
            self.switching.polled(reading.meter, reading.values, reading.taken_at)
        worth = self._time.worth(reading.taken_at)
        grid = self.grid.serve(reading, suspect or ())
        self._recorder.reading(polled.message(reading, worth, suspect, grid))
