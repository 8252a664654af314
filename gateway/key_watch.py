"""The key file while the gateway runs: a key that was revoked counts no more within a minute.

Used by the core alone.

Not supported: the digest of the configuration, which the head-end is told, changes with the next
start only; what has become of which key is told by the event ``keys_changed``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from gateway.config_reader import ConfigError
from gateway.keys import load_keys
from gateway.north.signatures import Keys
from gateway.recorder import Recorder

DETAIL_MAX = 500

log = structlog.get_logger()


class KeyWatch:
    """Reads the key file again when it has changed, and tells those who judge by it."""

    def __init__(
        self, path: Path, keys: Keys, recorder: Recorder, users: Sequence[Callable[[Keys], None]]
    ) -> None:
        """``keys`` is what was read from it at the start."""
        self._path = path
        self._keys = keys
        self._recorder = recorder
        self._users = users
        self._read: tuple[int, ...] = ()
        """What the file was when it was last read."""

    def look(self) -> None:
        """Look whether it has changed.

        One that cannot be used is told once; what was read before goes on counting.
        """
        mark = self._mark()
        if mark == self._read:
            return
        self._read = mark
        try:
            found, _ = load_keys(self._path)
        except ConfigError as error:
            log.error("the key file cannot be used", reason=str(error))
            self._recorder.event("keys_refused", detail=str(error)[:DETAIL_MAX])
            return
        changed, self._keys = difference(self._keys, found), found
        if changed:
            log.warning("the keys were changed", what=changed)
            self._recorder.event("keys_changed", detail=changed[:DETAIL_MAX])
            for use in self._users:
                use(found)

    def _mark(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return (0,)
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_mode


def difference(before: Keys, after: Keys) -> str:
    """What has become of which keys, in words; empty: they are the same."""
    gone, come = before.of.keys() - after.of.keys(), after.of.keys() - before.of.keys()
    both = sorted(before.of.keys() & after.of.keys())
    others = [id_ for id_ in both if before.of[id_] != after.of[id_]]
    revoked = [id_ for id_ in others if after.of[id_].revoked and not before.of[id_].revoked]
    found = {
        "revoked": revoked,
        "removed": sorted(gone),
        "added": sorted(come),
        "changed": [id_ for id_ in others if id_ not in revoked],
    }
    return "; ".join(f"{word}: {', '.join(ids)}" for word, ids in found.items() if ids)
