"""What answers say about a part of a load curve."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.acquisition.confirm import limits_of
from gateway.acquisition.curve import (
    Found,
    Lacking,
    Records,
    Refused,
    Unread,
    broken,
    good,
    interpret,
    plan,
)
from gateway.acquisition.moments import STEP_S, Gap
from gateway.events import Fault, Outcome
from protocols import dlt645_load_curve as load_curve
from protocols.base import Quality, Reply, Value
from tests.test_collection import meter

ZONE = ZoneInfo("Asia/Shanghai")
METER = replace(meter("A1"), grid=("energy_active_import",))
BOTH = replace(METER, grid=("energy_active_import", "energy_active_export"))
AT = datetime.fromisoformat("2026-01-02T03:15").replace(tzinfo=ZONE).timestamp()
GAP = Gap(AT, 4)


def record(quarter: float, kwh: int | None = 100) -> bytes:
    values = {} if kwh is None else {"energy_active_import": 100 * kwh}
    return load_curve.encode(datetime.fromtimestamp(AT + quarter * STEP_S, ZONE), values)


def reply(data: bytes = b"") -> Outcome:
    request = plan(METER, GAP, ZONE, doubt=False)[0].request
    return Outcome(request=request, reply=Reply(METER.address, data), taken_at=AT + 9999)


def fault(kind: Fault, *, permanent: bool = False) -> Outcome:
    return replace(reply(), reply=None, fault=kind, permanent=permanent, error="no such data")


def found(outcomes: Sequence[Outcome]) -> Found:
    return interpret(METER, GAP, plan(METER, GAP, ZONE, doubt=False)[0], outcomes, ZONE)


def test_records_of_the_gap_are_found_by_their_own_time() -> None:
    # Recorded every five minutes, and beyond the gap; one is damaged.
    damaged = bytearray(record(2))
    damaged[-2] ^= 1
    data = b"".join(record(n / 3, 100 + n) for n in (0, 1, 2, 3)) + bytes(damaged) + record(9)

    records = found([reply(data)])

    assert isinstance(records, Records)
    amounts = {at - AT: one["energy_active_import"].text() for at, one in records.moments.items()}
    assert amounts == {0: "100.000", STEP_S: "103.000"}
    assert (records.data, records.taken_at) == (data, AT + 9999)


def test_a_reply_without_the_gap_says_how_far_the_meter_has_nothing() -> None:
    assert found([reply()]) == Lacking(AT + 3 * STEP_S)
    assert found([reply(record(1, None))]) == Lacking(AT + STEP_S)
    assert found([reply(record(50))]) == Lacking(AT + 3 * STEP_S)
    assert found([reply(b"\x12\x34")]) == Lacking(AT + 3 * STEP_S)


def test_a_moment_with_a_register_missing_is_none() -> None:
    exchange = plan(BOTH, GAP, ZONE, doubt=False)[0]
    assert interpret(BOTH, GAP, exchange, [reply(record(0))], ZONE) == Lacking(AT)


def test_a_refusal_is_believed_when_the_newest_record_is_refused_as_well() -> None:
    refusal = fault(Fault.REFUSED, permanent=True)

    assert found([refusal]) == Refused(wholly=False, reason="no such data")
    assert found([refusal, refusal]) == Refused(wholly=True, reason="no such data")
    assert found([refusal, reply(record(9))]) == Lacking(AT + 3 * STEP_S)
    assert found([refusal, fault(Fault.SILENT)]) == Unread()
    assert found([fault(Fault.REFUSED)]) == Unread(), "it may answer later"
    assert found([fault(Fault.DAMAGED)]) == Unread()
    assert [one.key for one in plan(METER, GAP, ZONE, doubt=True)] == ["06040001", "06040002"]


def test_only_good_registers_count() -> None:
    values = {
        "energy_active_import": Value(1, 3, "kWh"),
        "energy_active_export": Value(None, 3, "kWh", Quality.ABSENT),
        "voltage_l1n": Value(2300, 1, "V"),
    }
    assert good(values, BOTH.grid).keys() == {"energy_active_import"}


def test_registers_that_fall_or_leap_are_broken() -> None:
    def curve(*kwh: int) -> dict[float, dict[str, Value]]:
        values = enumerate(kwh)
        return {
            AT + n * STEP_S: {"energy_active_import": Value(1000 * one, 3, "kWh")}
            for n, one in values
        }

    limits = limits_of(METER)
    assert broken(curve(100, 100, 101, 126), limits) == ""
    assert "fell" in broken(curve(100, 99), limits)
    assert "grew" in broken(curve(100, 200), limits)
