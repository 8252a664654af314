"""Where accounts are opened, changed and closed, meters swapped, tariffs and rulings taken in.

Each order is carried out in the transaction that remembers it; what it changes for the past is
noted there, and derived again by and by (``Settlement``).

Used by the core alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from gateway.money.books import Books
from gateway.money.settlement import Settlement
from gateway.north import contract_orders as orders
from gateway.north.contract_money import AccountEvent
from gateway.orders import Outcome
from gateway.prepayment.account import Account, Class, Contract, Metering, Mode, NoCut, Regime
from gateway.prepayment.account_rules import (
    AccountError,
    Site,
    Swap,
    change,
    close,
    open_account,
    protection_lost,
    swap,
    unprotect,
)
from gateway.prepayment.tariff_reader import TariffError, parse
from gateway.recorder import Recorder
from gateway.store.accounts import Accounts
from gateway.store.rulings import Ruling, Rulings
from gateway.store.tariffs import TariffChangedError, Tariffs, TariffVersion
from protocols.points import point

if TYPE_CHECKING:
    from gateway.north.contract_switching import ProtectRemove


class RegisterError(ValueError):
    """A register in an order is none of the meter's, or no number it can show."""


class AccountDesk:
    """The accounts and tariffs of one gateway."""

    def __init__(
        self,
        meters: Iterable[str],
        policies: Iterable[str],
        books: Books,
        settlement: Settlement,
        accounts: Accounts,
        rulings: Rulings,
        tariffs: Tariffs,
        recorder: Recorder,
    ) -> None:
        """``meters`` are the asset numbers of all configured meters."""
        self._meters = frozenset(meters)
        self._policies = frozenset(policies)
        self._books = books
        self._settlement = settlement
        self._accounts = accounts
        self._rulings = rulings
        self._tariffs = tariffs
        self._recorder = recorder

    # --- accounts -------------------------------------------------------------------------------

    def open(self, order: orders.AccountOpen, id_: str, by: str) -> Outcome:
        """Open an account."""
        try:
            account = Account(
                number=order.account,
                version=0,
                opened=date.fromisoformat(order.opened),
                mode=Mode(order.mode),
                regime=Regime(order.regime),
                class_=Class(order.class_),
                no_cut=_no_cut(order.no_cut),
                policy=order.policy,
                tariffs=tuple((date.fromisoformat(one.since), one.tariff) for one in order.tariffs),
                meterings=tuple(map(self._metering, order.meters)),
                contract=_contract(order.contract),
                language=order.language,
            )
            return self._keep([open_account(account, self._site())], "opened", id_, by)
        except (AccountError, RegisterError) as error:
            return Outcome("refused", str(error))

    def change(self, order: orders.AccountChange, id_: str, by: str) -> Outcome:
        """Change an account; what takes protection away is refused."""
        current = self._accounts.current(order.account)
        if current is None:
            return _unknown(order.account)
        if current.version != order.version:
            return _moved(current, order.version)
        try:
            wanted = self._wanted(current, order)
            changed = change(current, wanted, self._site(), self._today())
            return self._keep([changed], "changed", id_, by)
        except (AccountError, RegisterError) as error:
            return Outcome("refused", str(error))

    def unprotect(self, order: "ProtectRemove", id_: str, by: str) -> Outcome:
        """Take protection away; whoever calls this has seen that two persons want it."""
        current = self._accounts.current(order.account)
        if current is None:
            return _unknown(order.account)
        if current.version != order.version:
            return _moved(current, order.version)
        wanted = replace(
            current,
            mode=Mode(order.mode) if order.mode else current.mode,
            class_=Class(order.class_) if order.class_ else current.class_,
            no_cut=None if order.no_cut else current.no_cut,
            dispute=current.dispute and not order.dispute,
        )
        if not protection_lost(current, wanted, self._today()):
            return Outcome("refused", "it has no such protection; look again")
        try:
            return self._keep([unprotect(current, wanted, self._site())], "changed", id_, by)
        except AccountError as error:
            return Outcome("refused", str(error))

    def close(self, order: orders.AccountClose, id_: str, by: str) -> Outcome:
        """Close an account: charge its last day, settle what is left or owed."""
        current = self._accounts.current(order.account)
        if current is None:
            return _unknown(order.account)
        if current.mode is not Mode.MIRROR and (meter := self._settlement.held(current)):
            reason = f"meter {meter} prepays by itself; change the mode to mirror first"
            return Outcome("refused", reason)
        day = date.fromisoformat(order.day)
        running = [one.meter for one in current.meterings if one.until is None]
        try:
            finals = {
                meter: self._registers(meter, order.final.get(meter, {}), day) for meter in running
            }
            closed = close(current, day, finals, self._today())
        except (AccountError, RegisterError) as error:
            return Outcome("refused", str(error))
        if problem := self._settlement.could_close(closed):
            return Outcome("refused", f"it cannot be charged up to {day}: {problem}")
        outcome = self._keep([closed], "closed", id_, by)
        pay_out = order.refund == "pay_out"
        self._books.close_out(closed, pay_out=pay_out)
        return outcome

    def swap_meter(self, order: orders.AccountSwapMeter, id_: str, by: str) -> Outcome:
        """A meter was replaced, or its ratio changed."""
        day = date.fromisoformat(order.day)
        try:
            done = Swap(
                old=order.old,
                final=self._registers(order.old, order.final, day),
                new=order.new,
                start=self._registers(order.new, order.start, day),
                day=day,
            )
            versions = swap(done, self._site(), self._today())
        except (AccountError, RegisterError) as error:
            return Outcome("refused", str(error))
        if order.account not in {one.number for one in versions}:
            return Outcome("refused", f"meter {order.old} does not count for {order.account}")
        for one in versions:
            self._rulings.again(one.number, day)
        return self._keep(versions, "meter_swapped", id_, by)

    # --- tariffs and rulings ----------------------------------------------------------------------

    def put_tariff(self, order: orders.TariffPut, wall: float) -> Outcome:
        """Take in a version of a tariff; who was charged by another for its days is done again."""
        try:
            tariff = parse(order.text)
        except TariffError as error:
            return Outcome("refused", str(error)[:500])
        if (tariff.id, tariff.version) != (order.tariff, order.version):
            said = f"{tariff.id}/{tariff.version}"
            return Outcome("refused", f"the text is {said}, not {order.tariff}/{order.version}")
        version = TariffVersion(
            id=tariff.id,
            version=tariff.version,
            digest=tariff.digest,
            text=order.text,
            valid_from=tariff.valid_from,
            received=wall,
        )
        try:
            new = self._tariffs.put(version)
        except TariffChangedError as error:
            return Outcome("refused", str(error))
        if new:
            self._settlement.tariffs_changed()
            for account in self._accounts.all().values():
                if tariff.id in {name for _, name in account.tariffs}:
                    self._rulings.again(account.number, tariff.valid_from)
        return Outcome("confirmed", data={"digest": tariff.digest, "new": new})

    def rule(self, order: orders.ReadingRule, id_: str, by: str, wall: float) -> Outcome:
        """What a person knows better about a meter and day."""
        accounts = self._accounts.of_meter(order.meter)
        if not accounts:
            return Outcome("refused", f"no account has or had meter {order.meter}")
        day = date.fromisoformat(order.day)
        registers: Mapping[str, int] = {}
        if order.action in ("replace", "estimate"):
            try:
                registers = registers_of(order.registers)
            except RegisterError as error:
                return Outcome("refused", str(error))
            if not registers:
                return Outcome("refused", "registers: missing; write what the meter showed")
        elif order.registers:
            return Outcome("refused", f"registers: leave them out to {order.action} a reading")
        self._rulings.add(
            Ruling(
                meter=order.meter,
                day=day,
                action=order.action,
                registers=registers,
                issuer=by,
                reason=f"{order.reason} ({id_})",
                at=wall,
            )
        )
        for account in accounts:
            self._rulings.again(account.number, day)
        return Outcome("confirmed")

    # --- parts ----------------------------------------------------------------------------------

    def _keep(self, versions: list[Account], what: str, id_: str, by: str) -> Outcome:
        wall = self._books.wall()
        for one in versions:
            self._accounts.add(one, wall, by, id_)
            at, clock = self._recorder.stamp()
            self._recorder.fact(
                AccountEvent(
                    at=at,
                    clock=clock,
                    account=one.number,
                    what=what,
                    version=one.version,
                    by=by[:100],
                )
            )
            self._settlement.account(one)
            self._books.watcher(one)
        return Outcome("confirmed", data={one.number: one.version for one in versions})

    def _site(self) -> Site:
        return Site(
            policies=self._policies,
            tariffs={one.id for one in self._tariffs.all()},
            meters=self._meters,
            prepaying=self._settlement.prepaying(),
            accounts=self._accounts.all(),
        )

    def _today(self) -> date:
        return self._books.day_of(self._books.wall())

    def _metering(self, row: orders.Metered) -> Metering:
        since = date.fromisoformat(row.since)
        start = self._registers(row.meter, row.start, since)
        return Metering(meter=row.meter, since=since, start=start, minus=row.minus)

    def _registers(self, meter: str, given: Mapping[str, str], day: date) -> Mapping[str, int]:
        """The registers as given, or else those of the day's freeze."""
        if given:
            return registers_of(given)
        shown = self._rulings.shown(meter, day)
        if shown is None:
            raise RegisterError(
                f"meter {meter} has no daily freeze of {day} here; write its registers of that day"
            )
        return shown.registers

    def _wanted(self, current: Account, order: orders.AccountChange) -> Account:
        given: dict[str, object] = {
            "mode": order.mode and Mode(order.mode),
            "regime": order.regime and Regime(order.regime),
            "class_": order.class_ and Class(order.class_),
            "no_cut": _no_cut(order.no_cut),
            "dispute": order.dispute,
            "policy": order.policy,
            "language": order.language,
        }
        if order.tariff:
            row = date.fromisoformat(order.tariff.since), order.tariff.tariff
            given["tariffs"] = (*current.tariffs, row)
        if order.contract and order.contract_since:
            agreed = date.fromisoformat(order.contract_since), _contract(order.contract)
            given["capacity_changes"] = (*current.capacity_changes, agreed)
        if order.meter:
            given["meterings"] = (*current.meterings, self._metering(order.meter))
        wanted = {name: value for name, value in given.items() if value is not None}
        return replace(current, **wanted)  # type: ignore[arg-type]


def _unknown(number: str) -> Outcome:
    return Outcome("refused", f"no account {number} here; `taiqu account list` shows all")


def _moved(current: Account, wanted: int) -> Outcome:
    reason = f"it is at version {current.version}, not {wanted}; look again"
    return Outcome("refused", reason)


def _no_cut(row: orders.NoCut | None) -> NoCut | None:
    if row is None:
        return None
    return NoCut(reason=row.reason, until=date.fromisoformat(row.until) if row.until else None)


def _contract(row: orders.Agreed | None) -> Contract:
    if row is None:
        return Contract()
    return Contract(
        capacity_va=_steps("capacity_kva", row.capacity_kva or "0", 3),
        demand_w=_steps("demand_kw", row.demand_kw or "0", 3),
    )


def registers_of(given: Mapping[str, str]) -> dict[str, int]:
    """Registers as orders write them, in steps of their points' resolution.

    Raises RegisterError.
    """
    found = {}
    for name, text in given.items():
        known = point(name)
        if known is None or not known.cumulative:
            raise RegisterError(f"{name}: no register that only grows; see the inventory's points")
        found[name] = _steps(name, text, known.decimals)
    return found


def _steps(name: str, text: str, decimals: int) -> int:
    whole, _, rest = text.partition(".")
    digits = whole + rest.ljust(decimals, "0")
    if not (whole.isascii() and digits.isdecimal() and len(rest) <= decimals and len(digits) <= 18):
        raise RegisterError(
            f"{name}: found {text[:40]!r}; write digits, at most {decimals} after the point"
        )
    return int(digits)
