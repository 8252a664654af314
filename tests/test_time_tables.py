"""Meters whose time tables are not the tariff's: their rates do not count until they are."""

from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.acquisition.freeze import Answer
from gateway.events import Fault
from gateway.events import Outcome as Heard
from gateway.money.inspection import Plan
from gateway.money.time_tables import TimeTables
from gateway.orders import Outcome
from gateway.prepayment.rerate import stand
from gateway.prepayment.validity import Flag
from gateway.store.journal import JournalReader
from gateway.technician.cli import main
from protocols.base import Reply
from protocols.exchanges import Exchange
from simulators.dlt645_memory import Memory
from simulators.household import Household
from tests.charged import FIRST, NIGHT_S, Charged
from tests.money_rig import START, TOTAL, Money

RATES = """
id = "rates"
version = {version}
valid_from = {since}
settlement = {{ every = "month" }}

[registers]
t1 = "sharp"
t2 = "peak"
t3 = "flat"
t4 = "valley"

[[window]]
days = ["weekday", "weekend", "holiday"]
rates = {{ sharp = ["{sharp}"], peak = ["09:00-12:00", "17:00-19:00", "21:00-22:00"], flat = ["07:00-09:00", "12:00-17:00", "{flat}"], valley = ["23:00-07:00"] }}

[[component]]
type = "tou"
id = "energy"
prices = {{ sharp = "1.20", peak = "1.00", flat = "0.60", valley = "0.30" }}

[[check]]
usage = {{ kwh = {{ sharp = "1", peak = "1", flat = "1", valley = "1" }}, days = 1 }}
charge = "3.10"
"""  # noqa: E501


def rates(version: int = 1, since: date = date(2026, 1, 1), *, early: bool = False) -> str:
    """Windows as the simulated meters have them, or with an earlier end of the sharp one."""
    sharp, flat = ("19:00-20:00", "20:00-21:00") if early else ("19:00-21:00", "22:00-23:00")
    text = RATES.format(version=version, since=since.isoformat(), sharp=sharp, flat=flat)
    return text.replace('"20:00-21:00"]', '"20:00-21:00", "22:00-23:00"]')


class Rated(Money):
    """An account priced by rate; its meter is asked for its tables, and read each morning."""

    def __init__(self, directory: Path, *texts: str, more: str = "") -> None:
        super().__init__(directory)
        if more:
            text = self.path.read_text()
            self.path.write_text(text.replace("reserve_days = 30", f"reserve_days = 30\n{more}"))
            self.database.close()
            self.start()
        for n, text in enumerate(texts, 1):
            assert self.put(n, text).stage == "confirmed"
        start = {TOTAL: "0"} | {f"{TOTAL}_t{rate}": "0" for rate in range(1, 5)}
        opened = self.open(
            tariffs=[{"since": START.isoformat(), "tariff": "rates"}],
            meters=[{"meter": "M0", "since": START.isoformat(), "start": start}],
        )
        assert opened.stage == "confirmed", opened
        self.memory = Memory(Household("a"), "0", "0")
        self.asked: list[str] = []

    def put(self, version: int, text: str) -> Outcome:
        return self.order("tariff.put", tariff="rates", version=version, text=text)

    def start(self) -> None:
        super().start()
        self.tables = TimeTables(
            self.prepaid.books,
            self.prepaid.accounts,
            self.prepaid.facts,
            self.prepaid.settlement.looks.prices,
            self.recorder,
            self.prepaid.settlement.facts_changed,
            refuse_unchecked=self.config.prepayment.refuse_unchecked,  # type: ignore[union-attr]
        )

    def compare(self) -> None:
        """Ask whoever is due, as gateway/money/inspection.py does."""
        for asset in self.tables.due(self.wall):
            meter = next(one for one in self.config.meters if one.asset == asset)
            plan: Plan | None = self.tables.begin(meter)
            while plan:
                plan = self.tables.take(meter, [self._answer(one) for one in plan], self.wall)
            assert plan == (), "it would be tried later"
        self.flush()

    def _answer(self, exchange: Exchange) -> Answer:
        self.asked.append(exchange.key)
        data = self.memory.read(exchange.key, self.wall)
        if data is None:
            refused = Heard(request=exchange.request, fault=Fault.REFUSED, permanent=True)
            return Answer(exchange, refused, None)
        reply = Reply("0", data)
        return Answer(exchange, Heard(request=exchange.request, reply=reply, taken_at=1.0), {})

    def days(self, first: int, last: int) -> None:
        """Each morning the freeze of the day before is charged: 4 kWh, 1 of each rate."""
        for n in range(first, last + 1):
            self.at(day(n))
            rates = {f"{TOTAL}_t{rate}": 1000 * n for rate in range(1, 5)}
            self.freeze("M0", day(n), 0, registers={TOTAL: 4000 * n} | rates)
            self.compare()

    def refused_days(self) -> list[int]:
        found = self.prepaid.journal.of_account("1001")
        refused = [one for one in found if Flag.RATES_REFUSED in stand(one).flags]
        return [(one.draft.spans[0].to - START).days for one in refused]

    def codes(self) -> list[str]:
        codes = [one["event"]["code"] for one in self.told()]
        return [one for one in codes if one.startswith("rates")]

    def sound(self) -> bool:
        """Whether all charges can be derived again."""
        path = str(self.database.path)
        account = self.prepaid.accounts.all()["1001"]
        audited = CliRunner().invoke(main, ["audit", "--store", path])
        return not self.prepaid.settlement.wrong(account, START) and not audited.exit_code


def day(n: int) -> date:
    return START + timedelta(days=n)


RIGHT = ["00:00 #04", "07:00 #03", "09:00 #02", "12:00 #03", "17:00 #02", "19:00 #01"]
RIGHT += ["20:00 #03", "21:00 #02", "22:00 #03", "23:00 #04"]
"""Day table 1 with the earlier end of the sharp window."""


def test_equal_tables_are_nothing_to_tell(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates())
    money.compare()
    money.days(1, 3)

    found = money.prepaid.facts.compared()["M0"]
    assert (found.outcome, found.tariffs) == ("agrees", "rates/1")
    assert money.codes() == []
    assert money.balance() == -3 * 31_000
    assert len(money.asked) == 7, "once"
    money.at(day(9))
    money.compare()
    assert len(money.asked) == 14, "and after a week"


def test_rates_by_other_tables_do_not_count_until_the_tables_are_set(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates(early=True))
    money.at(day(1))
    money.compare()
    [told] = [one["event"] for one in money.told() if one["event"]["code"] == "rates_refused"]
    assert "20:00-21:00 is flat by the tariff, but the meter counts it in t1" in told["detail"]
    assert len(money.asked) == 14, "it is believed when it was read twice"
    money.days(1, 6)
    # The day before the comparison was charged by its rates; then all at the flat rate.
    assert money.balance() == -31_000 - 5 * 24_000

    money.memory.tables["04010001"] = RIGHT + RIGHT[-1:] * 4
    money.days(7, 12)
    assert money.codes() == ["rates_accepted"]
    assert money.prepaid.facts.rates_refused() == {"M0": [(day(2), day(10))]}
    assert money.refused_days() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert money.balance() == -4 * 31_000 - 8 * 24_000
    assert money.sound()
    money.database.close()
    money.start()
    assert money.sound()


def test_a_tariff_to_come_is_compared_when_it_comes_in(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates())
    money.compare()
    assert money.put(2, rates(2, day(30), early=True)).stage == "confirmed"
    money.tick()
    money.compare()
    [told] = [one["event"] for one in money.told() if one["event"]["code"] == "rates_differ"]
    assert told["detail"].startswith("rates/1, rates/2 from 2026-03-02: set its tables before")

    money.days(1, 31)
    assert money.codes() == ["rates_refused"], "told once until it has effect"
    assert money.prepaid.facts.rates_refused() == {"M0": [(day(30), date.max)]}
    assert money.refused_days() == [30, 31]
    assert money.sound()


@pytest.mark.parametrize(("more", "days"), [("", []), ('unchecked_rates = "refuse"', [1, 2])])
def test_a_meter_that_refuses_its_tables_is_as_the_configuration_says(
    tmp_path: Path, more: str, days: list[int]
) -> None:
    money = Rated(tmp_path, rates(), more=more)
    money.memory.tables.clear()
    money.compare()
    money.days(1, 2)

    assert money.codes() == ["rates_unchecked"]
    assert money.refused_days() == days
    assert money.sound()


def test_what_is_no_table_is_asked_for_twice_and_then_unknown(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates())
    money.memory.tables["04010000"] = ["13-01 #01"] * 14
    honest = money.memory.read
    money.memory.read = lambda di, now: (  # type: ignore[method-assign]
        b"\x01\x01\x13" * 14 if di == "04010000" else honest(di, now)
    )
    money.compare()
    assert money.prepaid.facts.compared()["M0"].outcome == "unknown"
    assert len(money.asked) == 12
    assert money.codes() == ["rates_unchecked"]


def test_the_tables_that_others_name_are_read_too(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates())
    money.memory.tables |= {
        "04030001": ["2026-02-03 #05"],
        "04010005": ["00:00 #04"] * 14,
        "04010006": ["00:00 #03", *money.memory.tables["04010001"][1:]],
    }
    money.memory.facts |= {"04000205": 1, "04000801": 0x7E, "04000802": 6}
    money.compare()

    reason = money.prepaid.facts.compared()["M0"].reason
    assert "2026-02-01 and 52 more days: 00:00-07:00 is valley by the tariff" in reason
    assert "2026-02-03: 07:00-09:00 is flat by the tariff" in reason
    assert money.prepaid.facts.rates_refused() == {"M0": [(day(1), date.max)]}


def test_an_account_that_leaves_the_rates_is_free(tmp_path: Path) -> None:
    money = Rated(tmp_path, rates(early=True))
    money.at(day(0))
    money.compare()
    money.days(1, 2)
    changed = money.order(
        "account.change",
        account="1001",
        version=1,
        tariff={"since": day(4).isoformat(), "tariff": "flat"},
    )
    assert changed.stage == "confirmed", changed
    money.days(3, 6)
    [(since, end)] = money.prepaid.facts.rates_refused()["M0"]
    assert (since, end) == (day(1), day(5))
    assert money.refused_days() == [1, 2, 3, 4]
    assert money.sound()


def test_no_flat_rate_is_priced_as_the_meter_counts(tmp_path: Path) -> None:
    text = rates(early=True).replace("flat", "level")
    money = Rated(tmp_path, text)
    money.at(day(0))
    money.compare()
    money.days(1, 2)
    assert money.refused_days() == [1, 2]
    assert money.balance() == -2 * 31_000


def test_the_gateway_asks_its_meters(tmp_path: Path) -> None:
    model = {"profile": "eastron-sdm630", "address": "7"}
    world = Charged(
        tmp_path, {"asset": "M0"}, {"asset": "X0"} | model, tariffs=(rates(early=True),)
    )
    world.run(3600)
    start = {TOTAL: "0"}
    tariffs = [{"since": FIRST.isoformat(), "tariff": "rates"}]
    since = FIRST - timedelta(days=1)
    meters = [{"meter": "X0", "since": since.isoformat(), "start": start}]
    assert world.open("1001", "M0", tariffs=tariffs).stage == "confirmed"
    assert world.open("1002", "X0", tariffs=tariffs, meters=meters).stage == "confirmed"
    world.run(NIGHT_S)

    assert [one["meter"] for one in world.told("rates_unchecked")] == ["X0"]
    assert [one["meter"] for one in world.told("rates_refused")] == ["M0"]
    [charge] = JournalReader(world.database).of_account("1001")
    assert Flag.RATES_REFUSED in stand(charge).flags
