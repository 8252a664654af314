"""A gateway that may switch, on simulated time: real lines, meters with relays, a broker, persons.

``SwitchWorld`` is a world of one line with some homes, the first of which has an account.  Its
head-end does what the gateway asks for (notices, last calls), as long as ``helpful`` is on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.acquisition.acts import Transmit
from gateway.disconnection.case import State
from gateway.disconnection.relay_table import State as At
from gateway.events import Arrived
from gateway.keys import key_table
from gateway.north.contract import instant
from gateway.north.signatures import Signer
from gateway.store.switching import Switching
from protocols.dlt645 import Frame, find_frame
from protocols.dlt645_refusals import RELAY
from simulators.area import PROFILES, Area, build_area
from simulators.area_meter import AreaMeter
from tests.keyring import sealed
from tests.money_rig import flat
from tests.world import START, World

HOUR, DAY = 3600.0, 86_400.0
SINGLE = "dlt645-2007-single-phase"
ROLES = {
    "cash": ("money",),
    "cash2": ("money",),
    "prices": ("tariff",),
    "prices2": ("tariff",),
    "office": ("account",),
    "asks": ("request",),
    "agrees": ("approve",),
    "guards": ("protect",),
    "relays": ("relay",),
    "stops": ("stop",),
    "stops2": ("stop", "approve", "protect"),
}
KEYS = {name: Signer(name, name.encode().ljust(32, b"-")) for name in ROLES}
WHO = {
    "account.open": "office",
    "account.change": "office",
    "topup": "cash",
    "topup.reverse": "cash",
    "adjust": "cash",
    "tariff.put": "prices",
    "disconnect.request": "asks",
    "disconnect.cancel": "asks",
    "notice.served": "asks",
    "disconnect.approve": "agrees",
    "delegate": "agrees",
    "mass.release": "agrees",
    "calendar.put": "guards",
    "protect.remove": "guards",
    "relay.protect": "guards",
    "relay.trip": "relays",
    "relay.close": "relays",
    "shed": "relays",
    "shed.end": "relays",
    "stop": "stops",
    "resume": "stops",
    "dry_run": "stops",
}
PREPAID = """
[prepayment]
tariffs = "tariffs"
[[policy]]
name = "home"
alert_1 = "2.00"
alert_2 = "1.00"
close_allowed = "5.00"
[keys]
file = "keys.toml"
"""
CONFIG = f"{PREPAID}[switching]\n{{switching}}\n"
NIGHT = {
    "version": 1,
    "first": "2026-01-01",
    "last": "2026-12-31",
    "weekend": [],
    "hours": [{"begin": "20:00", "end": "08:00", "reason": "night"}],
}


def homes(count: int, relays: Sequence[str] = (), seed: int = 1, **more: Any) -> Area:
    """``count`` homes on one line at 2400 baud; ``relays`` says what is wrong with theirs."""
    faults = [*relays, *("normal" for _ in range(count))]
    rows: list[dict[str, Any]] = [
        {
            "asset": f"M{n}",
            "profile": SINGLE,
            "address": f"{100 + n:012}",
            "daily_kwh": 24,
            "prepays": "none",
            "relay": faults[n],
            **more,
        }
        for n in range(count)
    ]
    return build_area({"seed": seed, "line": [{"name": "east", "meter": rows}]}, PROFILES, "homes")


class SwitchWorld(World):
    """It begins at 08:00 on the first of January, with yesterday's freezes in the meters."""

    def __init__(
        self,
        directory: Path,
        *,
        relays: Sequence[str] = (),
        count: int = 3,
        switching: str = "",
        period_s: int = 900,
        seed: int = 1,
        area: Area | None = None,
        rows: Mapping[str, str] = MappingProxyType({}),
        **more: Any,
    ) -> None:
        """``area`` stands instead of so many homes; ``rows`` are further keys of some meters."""
        (directory / "tariffs").mkdir(parents=True)
        (directory / "tariffs" / "flat.toml").write_text(flat(since="2025-12-01"))
        keys = "\n".join(key_table(KEYS[name], roles) for name, roles in ROLES.items())
        (directory / "keys.toml").write_text(keys)
        (directory / "keys.toml").chmod(0o600)
        self.commands = 0
        self.helpful = True
        self.sent: list[bytes] = []
        self.payloads: dict[str, bytes] = {}
        self._heard = 0
        super().__init__(
            directory,
            seed,
            area=area or homes(count, relays, seed, **more),
            period_s=period_s,
            rows=rows,
            more=CONFIG.format(switching=switching),
        )

    # --- persons ----------------------------------------------------------------------------------

    def order(self, name: str, *, by: str = "", for_s: float = 300.0, **keys: Any) -> str:
        """Send an order, signed; returns its id."""
        self.commands += 1
        id_ = f"c{self.commands}"
        command = {
            "id": id_,
            "gateway": "world",
            "issuer": "head-end",
            "issued": instant(self.clock.now()),
            "not_after": instant(self.clock.now() + for_s),
            "command": {"name": name, **keys},
        }
        payload = self.payloads[id_] = sealed(command, KEYS[by or WHO[name]])
        self.deliver(payload)
        return id_

    def deliver(self, payload: bytes, *, retained: bool = False) -> None:
        topic = "taiqu/v1/world/commands"
        arrived = Arrived(self.link.connection, self.commands, topic, payload, retained)
        self.later(0.0, partial(self.tell, self.link, arrived))

    def stages(self, id_: str) -> list[str]:
        """The answer to an order so far."""
        return [one["stage"] for one in self.broker.ledger.results.get(id_, ())]

    def result(self, id_: str) -> dict[str, Any]:
        """Its last stage."""
        return dict(self.broker.ledger.results[id_][-1])

    def run(self, seconds: float) -> None:
        """Let the time pass; the head-end answers what it is asked, within some seconds."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            super().run(min(5.0, end - self.clock.monotonic()))
            if self.helpful and self.on:
                self._answer()

    def start(self) -> None:
        super().start()
        for wire in self.wires.values():
            wire._transmit = partial(self._overhear, wire._transmit)  # type: ignore[method-assign]

    def _overhear(self, transmit: Any, act: Transmit) -> None:
        self.sent.append(act.data)
        transmit(act)

    def _answer(self) -> None:
        events = list(self.broker.ledger.events)
        for event in events[self._heard :]:
            if event.get("code") != "disconnection":
                continue
            what = {"serve_notice": "notice", "last_call": "last_call"}.get(event.get("asks", ""))
            if what:
                self.order(
                    "notice.served",
                    account=event["account"],
                    round=event["round"],
                    what=what,
                    channel="sms",
                    served=instant(self.clock.now()),
                    receipt="delivered",
                )
        self._heard = len(events)

    # --- an account -------------------------------------------------------------------------------

    def open(self, number: str = "1001", meter: str = "M0", **keys: Any) -> str:
        # At the end of the day before yesterday: yesterday is charged as soon as it is read.
        household = self.meter(meter).household
        exact = household.truth(START - 32 * HOUR)["energy_active_import"].text() or "0"
        shown = exact[: exact.index(".") + 3]
        given: dict[str, Any] = {
            "account": number,
            "opened": "2025-12-31",
            "mode": "prepay_cut",
            "regime": "contract_prepay",
            "policy": "home",
            "tariffs": [{"since": "2025-12-30", "tariff": "flat"}],
            "meters": [
                {
                    "meter": meter,
                    "since": "2025-12-30",
                    "start": {"energy_active_import": shown},
                }
            ],
        }
        return self.order("account.open", **(given | keys))

    def top_up(self, amount: str, account: str = "1001") -> str:
        self.commands += 1
        return self.order(
            "topup",
            payment=f"p{self.commands}",
            account=account,
            amount=amount,
            channel="counter",
            paid=instant(self.clock.now()),
        )

    def rule(self, action: str, used_kwh: int = 0) -> None:
        """Yesterday's reading was another one: only so much was used."""
        assert self.core._prepaid is not None
        account = self.core._prepaid.accounts.current("1001")
        assert account is not None
        shown = account.meterings[0].start["energy_active_import"]
        self.order(
            "reading.rule",
            by="office",
            meter="M0",
            day="2025-12-31",
            action=action,
            registers={"energy_active_import": f"{shown / 1000 + used_kwh:.3f}"},
            reason="read wrong",
        )

    def broker_down_after_top_up(self, amount: str) -> None:
        """A payment is the last thing that comes from the head-end."""
        id_ = self.top_up(amount)
        self.quickly(lambda: self.database.row("select 1 from command where id = ?", id_), 10)
        self.broker_down()

    def hurry_polls(self) -> None:
        """From now on the lines have more work than time: everybody is polled every second."""
        for meter in self.core._intake.polling._meters.values():
            meter.config = replace(meter.config, period_s=1)
            meter.wake_at = float("-inf")
        self.core._due["poll"] = self.clock.monotonic()

    def agree(self, *accounts: str) -> None:
        """A calendar and a standing delegation: all that persons have to say beforehand."""
        self.order("calendar.put", windows=NIGHT)
        self.order(
            "delegate",
            accounts=accounts or ("1001",),
            debt_max="1000.00",
            expires=instant(self.clock.now() + 30 * DAY),
        )

    def to_debt(self) -> None:
        """An account with a calendar, a delegation, and a day's energy that nobody paid for."""
        self.run(180)
        self.open()
        self.run(5)
        self.agree()
        self.run(5)

    def to_cut(self) -> None:
        """Until the meter of the first account is open, or half a day has passed."""
        self.to_debt()
        self.until(lambda: self.relay_state() is At.OPEN, 12 * HOUR)

    def until(self, reached: Any, seconds: float) -> float:
        """Let the time pass until something is so; how long that took."""
        began = self.clock.monotonic()
        while not reached() and self.clock.monotonic() - began < seconds:
            self.run(5)
        return self.clock.monotonic() - began

    def quickly(self, reached: Any, seconds: float = 120.0) -> float:
        """The same in steps of an exchange: what the line does can be caught in the act."""
        began = self.clock.monotonic()
        while not reached() and self.clock.monotonic() - began < seconds:
            World.run(self, 0.02)
        return self.clock.monotonic() - began

    def to_sent(self) -> None:
        """Until the trip is on flash as sent; the frame has not left yet, or just has."""
        self.to_debt()
        self.until(lambda: self.case_state() is State.SCHEDULED, 12 * HOUR)
        kept = self.store.case("1001")
        assert kept is not None
        self.until(lambda: self.clock.now() > kept.case.trip_at - 10, 12 * HOUR)
        self.quickly(lambda: self.relay_state() is At.TRIP_SENT, 300)

    def frames(self) -> list[Frame]:
        """Every control frame (1CH) that was ever on the wire."""
        found = [find_frame(data)[0] for data in self.sent]
        return [frame for frame in found if frame and frame.control == RELAY]

    # --- the truth --------------------------------------------------------------------------------

    def meter(self, asset: str = "M0") -> AreaMeter:
        return self.area.meters[asset]

    def supplied(self, asset: str = "M0") -> bool:
        return self.meter(asset).supplied(self.clock.true())

    def told(self, asset: str = "M0") -> list[str]:
        """The commands that reached a meter's relay."""
        relay = self.meter(asset).relay
        assert relay is not None
        return [one.action.value for one in relay.received]

    # --- what the gateway knows -------------------------------------------------------------------

    @property
    def store(self) -> Switching:
        return Switching(self.database)

    def relay_state(self, asset: str = "M0") -> At | None:
        kept = self.store.relay(asset)
        return kept.relay.state if kept else None

    def case_state(self, account: str = "1001") -> State | None:
        kept = self.store.case(account)
        return kept.case.state if kept else None

    def failed(self, account: str = "1001") -> list[list[str]]:
        """The rules that spoke against a cut, decision by decision, newest first."""
        return [
            sorted({rule for _, rule, _ in one.failed}) for one in self.store.decisions(account)
        ]

    def events(self, code: str) -> list[dict[str, Any]]:
        return [one for one in self.broker.ledger.events if one.get("code") == code]
