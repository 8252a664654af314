"""The gate for changes that would put many accounts below zero: two persons open it (R26).

What one person ordered is kept beside the limits on many cuts, so a restart forgets neither it nor
what was counted.  Whether his word still counts is judged when the second one orders the same.

Used by the core alone.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from gateway.clock import ClockState
from gateway.disconnection import mass_changes
from gateway.disconnection.mass_changes import Change
from gateway.disconnection.mass_limits import Limits
from gateway.north.signatures import Keys
from gateway.store.switching import Switching

log = structlog.get_logger()


class MassGate:
    """The gate of one gateway."""

    def __init__(
        self,
        limits: Limits,
        store: Switching,
        keys: Keys,
        accounts: Callable[[], int],
        state: Callable[[], ClockState],
    ) -> None:
        """``accounts`` counts them, ``state`` says what our clock is worth."""
        self._limits = limits
        self._store = store
        self._keys = keys
        self._accounts = accounts
        self._state = state

    def refuse(self, change: Change, wall: float) -> str:
        """Why it waits for a second person, which is noted; empty: it may be made."""
        state = self._store.mass()
        reason = mass_changes.refuse(
            state, change, self._limits, self._accounts(), wall, lambda key: self._counts(key, wall)
        )
        if reason:
            log.warning("a change waits", accounts=len(change.fallen), reason=reason)
            self._store.set_mass(mass_changes.proposed(state, change, wall))
        return reason

    def done(self, change: Change, wall: float) -> None:
        """It was made."""
        self._store.set_mass(mass_changes.done(self._store.mass(), change, wall))

    def _counts(self, key: str, wall: float) -> bool:
        """Whether a key is still good.  It was in its role when it signed."""
        found = self._keys.of.get(key)
        if found is None or found.revoked or self._state() is not ClockState.TRUSTED:
            return False
        today = datetime.fromtimestamp(wall, UTC).date()
        return found.not_after is None or today <= found.not_after
