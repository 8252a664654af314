"""The simulated world with accounts: meters on wires, money in the store."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from gateway.north import contract
from gateway.north.parts import command_of
from gateway.orders import Outcome
from gateway.prepayment.ledger import Ledger
from gateway.store.journal import JournalReader
from gateway.store.meter_facts import MeterFactsReader
from simulators.area import PROFILES, build_area
from tests.money_rig import flat
from tests.world import World

DAY_S = 86_400.0
NIGHT_S = 17 * 3600.0
"""From the world's start, 08:00 local, until an hour after its first midnight."""
FIRST = date(2026, 1, 1)
"""The day on which the world starts."""
TOTAL = "energy_active_import"
MONEY = """
[prepayment]
tariffs = "tariffs"
{more}
[[policy]]
name = "home"
alert_1 = "20.00"
alert_2 = "10.00"
"""


class Charged(World):
    """Meters as the tables of an area file have them, tariffs as texts."""

    def __init__(
        self,
        directory: Path,
        *meters: dict[str, Any],
        tariffs: tuple[str, ...] = (),
        more: str = "",
    ) -> None:
        rows = [
            {"profile": "dlt645-2007-single-phase", "address": f"{n + 1:012}"} | one
            for n, one in enumerate(meters)
        ]
        tables = {"seed": 1, "line": [{"name": "east", "meter": rows}]}
        area = build_area(tables, PROFILES, "the world")
        (directory / "tariffs").mkdir(parents=True)
        for n, text in enumerate((flat(), *tariffs)):
            (directory / "tariffs" / f"{n}.toml").write_text(text)
        self._commands = 0
        super().__init__(directory, 1, area=area, period_s=3600, more=MONEY.format(more=more))

    @property
    def prepaid(self) -> Any:
        return self.core._prepaid

    def order(self, name: str, **keys: Any) -> Outcome:
        """Carry out an order, as if its signature was in order."""
        self._commands += 1
        wall = self.clock.now()
        command = command_of().model_validate_json(
            json.dumps(
                {
                    "id": f"c{self._commands}",
                    "issuer": "ops",
                    "issued": contract.instant(wall),
                    "not_after": contract.instant(wall + 60),
                    "command": {"name": name, **keys},
                }
            ),
            strict=True,
        )
        with self.core._recorder.commit(self.clock.monotonic(), live=False):
            outcome: Outcome = self.prepaid.execute(command, "key ops", wall)
            return outcome

    def open(self, number: str, meter: str, **keys: Any) -> Outcome:
        """Open an account; its meter counts from the newest freeze on."""
        since = FIRST - timedelta(days=1)
        given: dict[str, Any] = {
            "account": number,
            "opened": FIRST.isoformat(),
            "mode": "prepay_cut",
            "policy": "home",
            "tariffs": [{"since": FIRST.isoformat(), "tariff": "flat"}],
            "meters": [{"meter": meter, "since": since.isoformat()}],
        }
        return self.order("account.open", **(given | keys))

    def sum(self, number: str, ledger: Ledger = Ledger.CHARGED) -> int:
        """What stands in a ledger of an account."""
        return JournalReader(self.database).balances(number)[ledger]

    def charged_to(self, number: str) -> date | None:
        """The last day that an account was charged for."""
        found = JournalReader(self.database).of_account(number)
        return max((span.to for one in found for span in one.draft.spans), default=None)

    def facts(self) -> MeterFactsReader:
        return MeterFactsReader(self.database)

    def told(self, *codes: str) -> list[dict[str, Any]]:
        """The events with these codes that reached the head-end."""
        bodies = [json.loads(body) for _, topic, body in self.broker.arrived if "/events" in topic]
        return [one["event"] for one in bodies if one["event"]["code"] in codes]
