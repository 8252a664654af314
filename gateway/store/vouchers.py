"""Which offline vouchers (离线充值码) were used, and how often bad ones were typed.

The used numbers belong to the account: they are written in the transaction that posts the money.
"""

from gateway.prepayment.voucher_window import Tries, Window, begin
from gateway.store.database import Database

_BYTES = 8


class Vouchers:
    """The vouchers in ``database``.  Changes run in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def window(self, account: str, key: int) -> Window:
        """The numbers an account has used under a key; of a new key what follows from the rest."""
        rows = self._database.rows(
            "select key, floor, bitmap from voucher_window where account = ?", account
        )
        windows = {row[0]: Window(row[1], int.from_bytes(row[2])) for row in rows}
        return windows.get(key) or begin(windows.values())

    def set_window(self, account: str, key: int, window: Window) -> None:
        """Note the numbers used; call it with the window that ``Window.use`` gave."""
        self._database.write(
            "insert or replace into voucher_window (account, key, floor, bitmap)"
            " values (?, ?, ?, ?)",
            *(account, key, window.floor, window.bitmap.to_bytes(_BYTES)),
        )

    def tries(self, account: str) -> Tries:
        """The bad vouchers typed for an account since the last good one."""
        row = self._database.row(
            "select failures, last from voucher_tries where account = ?", account
        )
        return Tries(*row) if row else Tries()

    def set_tries(self, account: str, tries: Tries) -> None:
        """Note a bad one, or ``Tries()`` after a good one."""
        self._database.write(
            "insert or replace into voucher_tries (account, failures, last) values (?, ?, ?)",
            *(account, tries.failures, tries.last),
        )
