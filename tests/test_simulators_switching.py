"""Simulated relays over the wire: told and asked as the gateway does it, judged by the truth."""

import contextlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import modbus
from protocols.base import RefusedError, Reply, Stray, Value
from protocols.dlt645_relay import KeyServiceError
from protocols.model import ModbusProfile
from protocols.profile import parse
from protocols.relay import Action, Position, RelayStatus
from protocols.relay_control import meter_time, relay_points, relay_requests, relay_status
from simulators.__main__ import obey
from simulators.area import PROFILES, Area, AreaError, build_area
from simulators.line import Line
from simulators.modbus_meter import ModbusMeter, Quirks
from simulators.relay_scenarios import SCENARIOS, behaviour

NOW = 1_795_320_000.0  # 2026-11-22 12:00 in China
ADDRESS = "000000000001"
SINGLE = "dlt645-2007-single-phase"
MODBUS = ["acrel-ddsy1352-legacy", "eastron-sdm530y-prepay", "hiking-dds238-2-relay"]


class Bench:
    """One meter on a line, with a gateway's hands."""

    def __init__(self, profile: str = SINGLE, **table: Any) -> None:
        address = ADDRESS if profile.startswith("dlt645") else "5"
        meter = {"asset": "M1", "profile": profile, "address": address, **table}
        self.area: Area = build_area({"line": [{"name": "east", "meter": [meter]}]}, PROFILES, "t")
        self.meter = self.area.meters["M1"]
        self.pair = self.area.lines[0].open()
        self.now = NOW

    def ask(self, request: Any) -> Reply | Stray | None:
        """What the gateway makes of the answer to one request."""
        codec = self.meter.profile.codec()
        settings = self.meter.settings
        heard = self.pair.hear(codec.encode(request), self.now, settings.baud, settings.parity)
        for _, data in heard:
            found, _ = codec.decode(data, request)
            if found is not None:
                return found
        return None

    def read(self, points: tuple[str, ...]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for exchange in self.meter.profile.plan(self.meter.address, points):
            reply = self.ask(exchange.request)
            if isinstance(reply, Reply):
                values |= exchange.values(reply.data)
        return values

    def status(self) -> RelayStatus:
        profile = self.meter.profile
        return relay_status(profile, self.read(relay_points(profile).state))

    def clock(self) -> datetime | None:
        return meter_time(self.read(relay_points(self.meter.profile).clock))

    def tell(self, action: Action, meter_time: datetime | None = None) -> Reply | Stray | None:
        """Switch by the meter's own clock, or by ``meter_time``."""
        requests = relay_requests(
            self.meter.profile, self.meter.address, action, meter_time or self.clock(), minutes=30
        )
        for request in requests:
            found = self.ask(request)
        return found

    def energy(self) -> int:
        values = self.read(relay_points(self.meter.profile).load[:1])
        [value] = values.values()
        assert isinstance(value.amount, int)
        return value.amount

    @property
    def supplied(self) -> bool:
        return self.meter.supplied(self.now)


@pytest.mark.parametrize("profile", [SINGLE, "dlt645-2007-three-phase", *MODBUS])
def test_a_good_relay_trips_and_closes(profile: str) -> None:
    bench = Bench(profile, daily_kwh=500)
    assert bench.status().position is Position.CLOSED

    assert isinstance(bench.tell(Action.TRIP), Reply)
    assert bench.status().position is Position.OPEN
    assert not bench.supplied
    before = bench.energy()
    bench.now += 3600
    assert bench.energy() == before
    load = bench.read(relay_points(bench.meter.profile).load)
    assert [load[name].amount for name in load if name.startswith(("current", "power"))] in (
        [], [0, 0], [0] * 4,
    )  # fmt: skip
    assert isinstance(bench.tell(Action.CLOSE), Reply)
    assert bench.status().position is Position.CLOSED
    bench.now += 3600
    assert bench.energy() > before
    assert bench.supplied
    assert bench.meter.relay
    assert [each.cause for each in bench.meter.relay.movements] == ["trip", "close"]


def test_after_allow_close_the_customer_presses() -> None:
    bench = Bench()
    bench.tell(Action.TRIP)
    bench.tell(Action.ALLOW_CLOSE)
    assert bench.status().position is Position.CLOSE_ALLOWED
    assert not bench.supplied

    assert bench.meter.relay
    bench.meter.relay.press(bench.now + 3)
    bench.now += 5
    assert bench.status().position is Position.CLOSED
    assert bench.supplied


@pytest.mark.parametrize(
    ("relay", "position", "supplied"),
    [
        ("stuck", Position.TRIP_PENDING, True),
        ("deaf", Position.CLOSED, True),
        ("late", Position.TRIP_PENDING, True),
        ("welded", Position.OPEN, True),
        ("external", Position.OPEN, False),
        ("external-stuck", Position.OPEN, True),
        ("inverted", Position.CLOSED, False),
        ("button", Position.OPEN, False),
    ],
)
def test_what_it_says_and_what_is_true(relay: str, position: Position, *, supplied: bool) -> None:
    bench = Bench(relay=relay, daily_kwh=200)
    before = bench.energy()

    assert bench.tell(Action.TRIP) == Reply(ADDRESS, b"")
    assert (bench.status().position, bench.supplied) == (position, supplied)
    bench.now += 900
    assert (bench.energy() > before) == supplied


@pytest.mark.parametrize("profile", [SINGLE, *MODBUS])
@pytest.mark.parametrize(("relay", "heard"), [("mute", None), ("wrong-echo", "?"), ("noise", "?")])
def test_it_moves_and_no_good_reply_comes(profile: str, relay: str, heard: str | None) -> None:
    bench = Bench(profile, relay=relay)

    said = bench.tell(Action.TRIP)
    assert not isinstance(said, Reply)
    assert said is None or heard
    assert bench.status().position is Position.OPEN
    assert not bench.supplied


def test_half_an_hour_late() -> None:
    bench = Bench(relay="late")
    bench.tell(Action.TRIP)
    assert bench.status().pre_trip_alarm is True

    bench.now += 1790
    assert bench.supplied
    bench.now += 20
    assert bench.status().position is Position.OPEN
    truth = bench.area.truth(bench.now)["M1"]["energy_active_import"]
    bench.now += 7200
    assert bench.area.truth(bench.now)["M1"]["energy_active_import"] == truth


def test_protected_on_the_spot() -> None:
    bench = Bench(relay="protected")
    assert bench.status().protected is True

    with pytest.raises(RefusedError, match="supply is protected") as refused:
        bench.tell(Action.TRIP)
    assert refused.value.reasons == ("protected",)
    bench.tell(Action.PROTECT_OFF)
    bench.tell(Action.TRIP)
    assert not bench.supplied


def test_a_clock_a_year_ahead_lets_our_deadline_pass() -> None:
    bench = Bench(relay="year-ahead")
    ours = datetime(2026, 11, 22, 12)  # noqa: DTZ001 - the meter's clock knows no zone

    with pytest.raises(RefusedError) as refused:
        bench.tell(Action.TRIP, ours)
    assert refused.value.reasons == ("expired",)
    assert bench.clock() == ours + timedelta(days=365)
    assert isinstance(bench.tell(Action.TRIP), Reply), "by its own clock it obeys"
    assert not bench.supplied


@pytest.mark.parametrize(("late_s", "obeys"), [(299, True), (300, True), (302, False)])
def test_r05_a_late_frame_dies_by_itself(late_s: int, *, obeys: bool) -> None:
    bench = Bench()
    [request] = relay_requests(bench.meter.profile, ADDRESS, Action.TRIP, bench.clock())

    bench.now += late_s
    if obeys:
        assert isinstance(bench.ask(request), Reply)
    else:
        with pytest.raises(RefusedError, match="time invalid or expired"):
            bench.ask(request)
    assert bench.supplied != obeys


def own_model(**keys: str) -> Any:
    table = "\n".join(f"{key} = {value}" for key, value in keys.items())
    text = (
        f'model = "own"\nmanufacturer = "any"\nlike = "{SINGLE}"\nprotocol = "dlt645-2007"\n'
        f'default_points = ["relay_state"]\n[relay]\n{table}\n'
    )
    return parse(text.encode(), "own")


def test_wrong_passwords_lock_it() -> None:
    bench = Bench(relay="locked")
    wrong = own_model(password='"02111111"')
    for _ in range(3):
        [request] = relay_requests(wrong, ADDRESS, Action.TRIP, bench.clock())
        with pytest.raises(RefusedError) as refused:
            bench.ask(request)
        assert refused.value.reasons == ("password",)

    with pytest.raises(RefusedError, match="password wrong"):
        bench.tell(Action.TRIP)
    assert bench.supplied
    bench.now += 86_400
    assert isinstance(bench.tell(Action.TRIP), Reply)


def test_a_secured_meter_closes_and_does_not_trip() -> None:
    bench = Bench(relay="secured")

    with pytest.raises(RefusedError, match="key service only"):
        bench.tell(Action.TRIP)
    assert isinstance(bench.tell(Action.ALLOW_CLOSE), Reply)
    with pytest.raises(KeyServiceError):
        relay_requests(own_model(secured='["trip"]'), ADDRESS, Action.TRIP, bench.clock())


def test_voltage_behind_it() -> None:
    bench = Bench(relay="load-side")
    bench.tell(Action.TRIP)

    for action in (Action.CLOSE, Action.ALLOW_CLOSE):
        with pytest.raises(RefusedError, match="suspended"):
            bench.tell(action)
    assert not bench.supplied


def test_two_meters_with_one_address_both_obey() -> None:
    bench = Bench(relay="twin", daily_kwh=100)
    twin = bench.meter.twin
    assert twin
    identity = relay_points(bench.meter.profile).identity

    assert "meter_number" not in bench.read(identity), "their numbers differ, so they collide"
    assert isinstance(bench.tell(Action.TRIP, datetime(2026, 11, 22, 12)), Reply)  # noqa: DTZ001
    assert not bench.supplied
    assert not twin.supplied(bench.now), "the wrong customer is in the dark"
    slower = Bench(relay="twin=0.4")
    assert slower.read(identity)["meter_number"].amount == ADDRESS
    assert slower.meter.twin


def test_the_meter_counts_its_operations() -> None:
    bench = Bench(clock_offset_s=60)
    bench.tell(Action.TRIP)
    bench.now += 600
    bench.tell(Action.CLOSE)

    values = bench.read(
        ("relay_trip_count", "relay_trip_time", "relay_close_count", "relay_close_time")
    )
    assert {name: value.amount for name, value in values.items()} == {
        "relay_trip_count": 1,
        "relay_trip_time": "2026-11-22 12:01:00",
        "relay_close_count": 1,
        "relay_close_time": "2026-11-22 12:11:00",
    }


@pytest.mark.parametrize("model", ["external-breaker", "external-breaker-blind"])
@pytest.mark.parametrize(("relay", "supplied"), [("normal", False), ("external-stuck", True)])
def test_a_breaker_switches_another_meters_customer(
    model: str, relay: str, *, supplied: bool
) -> None:
    table = [
        {"asset": "K1", "profile": model, "address": "9", "relay": relay, "switches": "M1"},
        {"asset": "M1", "profile": SINGLE, "address": ADDRESS, "daily_kwh": 100},
    ]
    area = build_area({"line": [{"name": "east", "meter": table}]}, PROFILES, "t")
    bench = Bench()
    bench.area, bench.meter, bench.pair = area, area.meters["K1"], area.lines[0].open()

    assert isinstance(bench.tell(Action.TRIP), Reply)
    told = bench.status()
    assert told.commanded_open is True
    assert told.measured == (model == "external-breaker")
    assert area.meters["M1"].supplied(bench.now) == supplied
    bench.meter = area.meters["M1"]
    assert bench.status().position is Position.CLOSED, "the meter's own relay knows nothing of it"
    before = bench.energy()
    bench.now += 3600
    assert (bench.energy() > before) == supplied


BEHIND = """
model = "M1"
manufacturer = "Maker"
like = "external-breaker"
protocol = "modbus"
default_points = ["relay_state"]
[points]
voltage_load_l1n = { register = 7, function = 3, type = "u16", scale = 0.1 }
relay_load_voltage = { register = 1, function = 2 }
"""


@pytest.mark.parametrize(("relay", "volts"), [("normal", False), ("load-side", True)])
def test_a_breaker_may_tell_of_voltage_behind_it(relay: str, *, volts: bool) -> None:
    profile = parse(BEHIND.encode(), "m1")
    assert isinstance(profile, ModbusProfile)
    bench = Bench("external-breaker", relay=relay)
    house, does = bench.meter.household, Quirks(relay=behaviour(relay))
    device = ModbusMeter(5, house, profile, quirks=does)
    bench.meter = replace(bench.meter, profile=profile, meter=device)
    bench.pair = Line([device])
    points = relay_points(profile).state

    closed = relay_status(profile, bench.read(points))
    assert (closed.open, closed.load_voltage) == (False, True)
    bench.tell(Action.TRIP)
    opened = relay_status(profile, bench.read(points))
    assert (opened.open, opened.load_voltage) == (True, volts)


def test_a_breaker_that_is_late_is_in_time_for_the_meter() -> None:
    table = [
        {"asset": "M1", "profile": SINGLE, "address": ADDRESS, "daily_kwh": 100},
        {
            "asset": "K1",
            "profile": "external-breaker",
            "address": "9",
            "relay": "late",
            "switches": "M1",
        },
    ]
    area = build_area({"line": [{"name": "east", "meter": table}]}, PROFILES, "t")
    bench = Bench()
    bench.area, bench.meter, bench.pair = area, area.meters["K1"], area.lines[0].open()
    bench.tell(Action.TRIP)

    bench.meter = area.meters["M1"]
    bench.now += 3600
    after = bench.energy()
    bench.now += 3600
    assert bench.energy() == after


def test_what_an_area_file_says_wrong() -> None:
    with pytest.raises(AreaError, match="line east, meter M1: relay: unknown relay 'weld'"):
        Bench(relay="weld")
    with pytest.raises(AreaError, match="meter M1: switches A7, which is no asset here"):
        Bench(switches="A7")


def test_what_no_relay_takes() -> None:
    bench = Bench("hiking-dds238-2-relay")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"values": (7,)}, "illegal data value"),
        ({"register": 3}, "illegal data address"),
        ({"function": 6}, "illegal function"),
    ]
    for change, meaning in cases:
        fields: dict[str, Any] = {"unit": 5, "function": 16, "register": 0x1A, "values": (0,)}
        with pytest.raises(RefusedError, match=meaning):
            bench.ask(modbus.Request(**(fields | change)))
    assert bench.supplied


@given(
    relay=st.sampled_from(SCENARIOS),
    actions=st.lists(st.tuples(st.sampled_from(Action), st.integers(0, 4000)), max_size=8),
)
def test_registers_and_truth_agree_whatever_is_told(
    relay: str, actions: list[tuple[Action, int]]
) -> None:
    """Law: while the customer has no supply the register stands still; else it never falls."""
    bench = Bench(relay=relay, daily_kwh=500)
    for action, gap_s in actions:
        with contextlib.suppress(RefusedError):
            bench.tell(action, datetime(2028, 1, 1))  # noqa: DTZ001
        assert bench.meter.relay
        was, moved = bench.supplied, len(bench.meter.relay.movements)
        start = bench.area.truth(bench.now)["M1"]["energy_active_import"].amount
        bench.now += gap_s
        after = bench.area.truth(bench.now)["M1"]["energy_active_import"].amount
        assert isinstance(start, int)
        assert isinstance(after, int)
        assert after >= start
        if not was and not bench.supplied and len(bench.meter.relay.movements) == moved:
            assert after == start


def test_the_button_is_pressed_by_an_order() -> None:
    bench = Bench()
    bench.tell(Action.TRIP)
    bench.tell(Action.ALLOW_CLOSE)

    assert obey("press M1", bench.area, bench.now + 1) == "M1 has its button pressed: closed"
    assert bench.meter.supplied(bench.now + 2)
    without = Bench("eastron-sdm630")
    assert obey("press M1", without.area, NOW).endswith("it has no relay")
    assert obey("press M2", without.area, NOW).startswith("no meter 'M2'")
