"""The letterbox, as the core uses it: looked into twice a second, each letter an order.

Whatever is wrong with the letterbox is said once and never stops the gateway.  What is wrong with
the daemon's own file is the core's to judge, as it is with an order that came by MQTT.

Used by the core alone.
"""

import contextlib
from dataclasses import dataclass

import structlog

from gateway.north.signatures import Signer
from gateway.orders import Orders
from gateway.recorder import Recorder
from gateway.store.faults import (
    DiskFullError,
    LockedError,
    StoreDamagedError,
    StoreError,
    StoreIOError,
)
from gateway.store.letterbox import Letter, Letterbox

LOOK_S = 0.5
"""A stop that is ordered at the box has to be heard within a second (R25)."""
PATIENCE_S = 60.0
"""A letterbox that could not be read for so long is reported."""
AGAIN_S = 60.0
"""One that cannot be opened at all is tried again so often."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Local:
    """What is of this machine alone."""

    letterbox: Letterbox | None = None
    signer: Signer | None = None
    """The gateway's own key, where signatures are used."""


class Letters:
    """Takes letters out of ``box`` and hands them to ``orders``."""

    def __init__(self, box: Letterbox, orders: Orders, recorder: Recorder, now: float) -> None:
        self._box = box
        self._orders = orders
        self._recorder = recorder
        self._look_at = now
        """Not before: it could not be opened."""
        self._well_at = now
        """When it could last be read."""
        self._told = False

    def tick(self, now: float, wall: float, *, trusted: bool, live: bool) -> bool:
        """Look, and act on what is there: every ``LOOK_S``.  True if something was taken."""
        if now < self._look_at:
            return False
        taken = False
        for letter in self._waiting(now):
            try:
                self._orders.letter(letter, now, wall, trusted=trusted, live=live)
            except (DiskFullError, LockedError) as error:
                # No effect and no answer: it stays in the box until there is room.
                log.error("a letter must wait", letter=letter.id, reason=str(error))
                break
            self._box.taken(letter)
            taken = True
        if taken:
            # What stays is known when it is found again.
            with contextlib.suppress(StoreError):
                self._box.clear()
        return taken

    def _waiting(self, now: float) -> list[Letter]:
        try:
            letters = self._box.waiting()
        except LockedError as error:
            if now - self._well_at >= PATIENCE_S:
                self._tell(str(error))
        except StoreDamagedError as error:
            self._set_aside(error, now)
        except (DiskFullError, StoreIOError) as error:
            self._look_at = now + AGAIN_S
            self._box.close()
            self._tell(str(error))
        else:
            self._well_at, self._told = now, False
            return letters
        return []

    def _set_aside(self, damage: StoreDamagedError, now: float) -> None:
        try:
            aside = self._box.set_aside()
        except StoreError as error:
            self._look_at = now + AGAIN_S
            self._tell(str(error))
            return
        log.error("the letterbox was set aside", reason=str(damage), now=str(aside))
        self._recorder.event("letterbox_set_aside", detail=str(damage))

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            log.error("the letterbox cannot be used", reason=reason)
            self._recorder.event("letterbox_unusable", detail=reason)
