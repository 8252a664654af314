"""The real daemon killed with -9 between the wish to switch and its proof, at every step.

Two meters hang on a pseudo terminal; while one is tripped the other gets its supply back.  After
each kill: what is wanted and not proven is read before anything is switched, one decision sends one
trip at most, no restore is lost, and in the end the gateway knows what is true.

The short form kills at each step once; the long one, behind ``pytest -m torture``, many times at
random.
"""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.disconnection.relay_table import State
from gateway.keys import key_table
from gateway.north.contract import instant
from gateway.store.database import ReadOnly
from gateway.store.switching import SwitchingReader
from protocols.dlt645 import Frame, find_frame
from protocols.dlt645_refusals import RELAY
from protocols.relay import Action
from protocols.relay_control import relay_points
from simulators.area import PROFILES, Area, AreaLine, build_area
from simulators.area_meter import AreaMeter
from simulators.headend import HeadEnd
from simulators.line import Pair
from tests.daemon_rig import NAME, Gateway, Rig, made
from tests.keyring import sealed
from tests.money_rig import flat
from tests.switch_world import KEYS, PREPAID, ROLES, WHO

HURRIED = """
import sys
from functools import partial
from gateway import config_switching, daemon
from gateway.clock import SystemClock
from gateway.disconnection.facts import Margins
from gateway.disconnection.mass_limits import Limits
from gateway.disconnection.relay import Times
from gateway.switching import evidence

def other(of, **always):
    return lambda **given: of(**{**given, **always})

SystemClock.synchronised = lambda self: True
evidence.DRAINED_S = 0.0
config_switching.Times = other(Times, still_s=1, look_s=1, distance_s=0)
config_switching.Margins = other(Margins, distance_s=0, operations_max=10_000)
config_switching.Limits = other(
    Limits, per_10_minutes=10_000, per_hour=10_000, per_day_percent=1_000_000, delay_s=0
)
sys.exit(daemon.main())
"""
"""The daemon with a clock that is trusted, and without the hours between one cut and the next."""
SWITCHING = (
    PREPAID
    + """
[switching]
quiet_minutes = 0
restores_per_minute = 60
"""
)
CALENDAR = {"version": 1, "first": "2026-01-01", "last": "2037-12-31", "weekend": []}
ACCOUNTS = {"P1": "1001", "P2": "1002"}
SETTLED = (State.OPEN, State.CLOSED, State.ALLOWED)
TRIP_STEPS = ("trip_sent", "trip_verifying", "trip_watching", "open")
CLOSE_STEPS = ("restore_sent", "restore_verifying", "closed")
KILLS, MOST_S = 60, 4.0


def street() -> Area:
    """Two meters on a pair; the customer of the second presses his button after a second."""
    rows = [
        {
            "asset": asset,
            "profile": "dlt645-2007-single-phase",
            "address": f"{n:012}",
            "baud": 19200,
            "delay_ms": 5,
            "relay": relay,
        }
        for n, (asset, relay) in enumerate((("P1", "normal"), ("P2", "button=1")), 1)
    ]
    return build_area({"seed": 1, "line": [{"name": "pair", "meter": rows}]}, PROFILES, "street")


@dataclass
class Tap:
    """A line that notes what the gateway says, life by life."""

    line: AreaLine
    lives: list[bytearray] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def meters(self) -> Any:
        return self.line.meters

    def open(self) -> Pair:
        pair = self.line.open()
        hear = pair.hear

        def noted(data: bytes, *rest: Any) -> list[tuple[float, bytes]]:
            self.lives[-1] += data
            return hear(data, *rest)

        pair.hear = noted  # type: ignore[method-assign, assignment]
        return pair

    def frames(self, meter: AreaMeter) -> list[Frame]:
        """What was said to a meter in the last life."""
        left, found = bytes(self.lives[-1]), list[Frame]()
        while left:
            frame, used = find_frame(left)
            if frame is None:
                break
            found.append(frame)
            left = left[used:]
        return [frame for frame in found if frame.address == meter.address]


class Site:
    """The gateway, its street and its head-end."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        [line] = rig.area.lines
        self.tap = Tap(line)
        rig.serve(self.tap)  # type: ignore[arg-type]
        self._write_config()
        self.head_end: HeadEnd = rig.listen()
        self.orders = 0
        self.payloads: dict[str, dict[str, Any]] = {}
        self.gateway = self.start()

    def _write_config(self) -> None:
        folder = self.rig.folder
        (folder / "tariffs").mkdir()
        (folder / "tariffs" / "flat.toml").write_text(flat(since="2025-12-01"))
        keys = "\n".join(key_table(KEYS[name], roles) for name, roles in ROLES.items())
        (folder / "keys.toml").write_text(keys)
        (folder / "keys.toml").chmod(0o600)
        models = folder / "meters"
        models.mkdir()
        for file in PROFILES.glob("*.toml"):
            text = file.read_text().replace("settle_s = 5 ", "settle_s = 1 ")
            (models / file.name).write_text(text)
        path = self.rig.config(gateway={"profiles": str(models)})
        text = path.read_text().replace("period_s = 1\n", "period_s = 3600\n")
        text = text.replace('asset = "P1"', 'asset = "P1"\ndirect_close = true')
        path.write_text(text + SWITCHING)

    def start(self) -> Gateway:
        self.tap.lives.append(bytearray())
        gateway = self.rig.start(start=("-c", HURRIED))
        gateway.wait_for("connected to the head-end")
        return gateway

    def kill(self) -> None:
        self.gateway.kill()
        # What it said last is still on its way through the terminal.
        self.rig.take_in(self.head_end, 0.2)

    # --- persons ----------------------------------------------------------------------------------

    def order(self, name: str, **keys: Any) -> str:
        self.orders += 1
        now = datetime.now(UTC)
        command = {
            "id": f"k{self.orders}",
            "gateway": NAME,
            "issuer": "head-end",
            "issued": instant(now.timestamp()),
            "not_after": instant((now + timedelta(minutes=5)).timestamp()),
            "command": {"name": name, **keys},
        }
        payload = json.loads(sealed(command, KEYS[WHO[name]]))
        self.head_end.send(NAME, "commands", payload)
        self.payloads[payload["id"]] = payload
        return str(payload["id"])

    def repeat(self, id_: str) -> None:
        """Whether an order was heard before the kill nobody knows: it is sent once more."""
        self.head_end.send(NAME, "commands", self.payloads[id_])

    def answered(self, id_: str) -> list[str]:
        """The stages of an answer, once there is one."""
        results = self.rig.ledger.results
        self.rig.until(lambda: id_ in results, self.head_end, f"an answer to {id_}")
        return [one["stage"] for one in results[id_]]

    def open_accounts(self) -> None:
        today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
        for meter, account in ACCOUNTS.items():
            id_ = self.order(
                "account.open",
                account=account,
                opened=day(today, -1),
                mode="prepay_cut",
                regime="contract_prepay",
                policy="home",
                tariffs=[{"since": day(today, -2), "tariff": "flat"}],
                meters=[
                    {
                        "meter": meter,
                        "since": day(today, -2),
                        "start": {"energy_active_import": "0"},
                    }
                ],
            )
            assert self.answered(id_) == ["confirmed"], self.rig.ledger.results[id_][-1]["reason"]
        assert self.answered(self.order("calendar.put", windows=CALENDAR)) == ["confirmed"]

    def one_of_each(self) -> None:
        """Whatever a kill has made of the last round: one meter is open, the other is not."""
        found = [self.state(meter) is State.OPEN for meter in ACCOUNTS]
        if all(found):
            self.finished(self.close("P2"))
        elif not any(found):
            self.finished(self.trip("P1"))
        self.settle()

    def finished(self, id_: str) -> None:
        """Wait for the last stage of an answer."""
        results = self.rig.ledger.results

        def is_final() -> bool:
            stages = [one["stage"] for one in results.get(id_, ())]
            return bool(stages) and stages[-1] not in ("accepted", "sent")

        self.rig.until(is_final, self.head_end, f"the end of {id_}")

    def trip(self, meter: str) -> str:
        account = ACCOUNTS[meter]
        keys = {"action": "trip", "account": account, "debt_max": "10000.00"}
        assert self.answered(self.order("disconnect.approve", **keys)) == ["confirmed"]
        return self.order("relay.trip", meter=meter, account=account, reason="works on the line")

    def close(self, meter: str) -> str:
        return self.order("relay.close", meter=meter, reason="works are over")

    # --- what is so -------------------------------------------------------------------------------

    def state(self, meter: str) -> State:
        with ReadOnly(self.rig.database) as file:
            kept = SwitchingReader(file).relay(meter)
        return kept.relay.state if kept else State.CLOSED

    def settled(self) -> bool:
        """Whether everything that was wanted is proven, and no order is under way."""
        with ReadOnly(self.rig.database) as file:
            reader = SwitchingReader(file)
            kept = reader.relays()
            return not reader.orders() and all(
                one.relay.confirmed and one.relay.state in SETTLED for one in kept
            )

    def settle(self) -> None:
        self.rig.until(self.settled, self.head_end, "what is wanted to be so")

    def judge(self) -> None:
        """What must be so whenever everything has settled."""
        for asset in ACCOUNTS:
            meter = self.rig.area.meters[asset]
            relay = meter.relay
            assert relay is not None
            with ReadOnly(self.rig.database) as file:
                reader = SwitchingReader(file)
                trips = [one for _, one in reader.operations(asset, 10_000) if one.action == "trip"]
            decisions = {one.decision for one in trips}
            assert len(decisions) == len(trips), "a decision for each trip"
            told = [one.action for one in relay.received]
            assert told.count(Action.TRIP) <= len(decisions), "one decision, one trip"
            assert relay.commanded_open == (self.state(asset) is State.OPEN), "it knows the truth"
            self._read_before_switched(meter)

    def _read_before_switched(self, meter: AreaMeter) -> None:
        plan = meter.profile.plan(meter.address, relay_points(meter.profile).state)
        codec = meter.profile.codec()
        asked = [find_frame(codec.encode(one.request))[0] for one in plan]
        for frame in self.tap.frames(meter):
            if frame in asked:
                return
            assert frame.control != RELAY, "read before anything is switched"


def day(today: date, days: int) -> str:
    return (today + timedelta(days=days)).isoformat()


@contextmanager
def site(folder: Path) -> Iterator[Site]:
    """Accounts for both meters; the first has no supply."""
    with made(folder, place=street()) as rig:
        found = Site(rig)
        found.open_accounts()
        found.one_of_each()
        yield found


def cross(site: Site, interrupt: Callable[[str, str], None]) -> None:
    """Trip who has supply, restore who has none, and kill the daemon when ``interrupt`` returns."""
    site.one_of_each()
    tripped, restored = sorted(ACCOUNTS, key=lambda meter: site.state(meter) is State.OPEN)
    orders = [site.trip(tripped), site.close(restored)]
    interrupt(tripped, restored)
    site.kill()
    site.gateway = site.start()
    for id_ in orders:
        site.repeat(id_)
        site.finished(id_)
    site.settle()
    site.judge()
    assert site.state(restored) is not State.OPEN, "no restore is lost"


def test_r34_killed_at_each_step_it_switches_nothing_twice_and_loses_no_restore(
    tmp_path: Path,
) -> None:
    with site(tmp_path) as found:
        for step in (*TRIP_STEPS, *CLOSE_STEPS):

            def at_the_step(tripped: str, restored: str, step: str = step) -> None:
                meter = tripped if step in TRIP_STEPS else restored
                # The second meter's customer has to press his button first.
                state = "allowed" if (step, meter) == ("closed", "P2") else step
                found.gateway.wait_for("relay", state=state, meter=meter)

            cross(found, at_the_step)


@pytest.mark.torture
def test_r34_killed_at_random_it_switches_nothing_twice_and_loses_no_restore(
    tmp_path: Path,
) -> None:
    draw = random.Random(20261122)
    with site(tmp_path) as found:
        for _ in range(KILLS):
            cross(found, lambda *_: found.rig.take_in(found.head_end, draw.uniform(0, MOST_S)))
