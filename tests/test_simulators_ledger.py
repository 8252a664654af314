"""What a head-end's books say about lost, repeated and changed messages."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from simulators.ledger import Key, Ledger, Taken

EPOCH = "00112233445566aa"
LIVE = Key("gw", EPOCH, "live")


def message(seq: int, lane: str = "live", **more: Any) -> bytes:
    return json.dumps({"gateway": "gw", "epoch": EPOCH, "lane": lane, "seq": seq, **more}).encode()


def reading(taken: str, **values: str) -> dict[str, Any]:
    return {"meter": "A01", "address": "1", "line": "line1", "taken": taken, "values": values}


def take(ledger: Ledger, *numbers: int) -> list[Taken]:
    return [ledger.take("taiqu/v1/gw/readings", message(seq)) for seq in numbers]


def test_a_whole_lane_has_no_gap_in_whatever_order_it_came() -> None:
    ledger = Ledger()

    assert take(ledger, 1, 5, 4, 3, 2) == [Taken.NEW] * 5
    assert ledger.summary().gaps == 0
    assert ledger.watermarks() == {LIVE: 5}
    assert [seq for _, seq in ledger.arrivals] == [1, 5, 4, 3, 2]


def test_what_is_missing_is_a_gap_until_it_comes() -> None:
    ledger = Ledger()
    take(ledger, 3, 5)

    assert ledger.missing(LIVE) == [1, 2, 4]
    assert ledger.watermarks()[LIVE] == 0
    take(ledger, 1, 2, 4)
    assert ledger.missing(LIVE) == []


def test_a_repeat_counts_once_and_other_content_is_a_conflict() -> None:
    ledger = Ledger()
    take(ledger, 1)

    assert take(ledger, 1) == [Taken.DUPLICATE]
    assert ledger.take("taiqu/v1/gw/readings", message(1, readings=[])) is Taken.CONFLICT
    summary = ledger.summary()
    assert (summary.messages, summary.duplicates, summary.conflicts) == (1, 1, 1)


def test_epochs_lanes_and_gateways_are_numbered_apart() -> None:
    ledger = Ledger()
    other = json.dumps({"gateway": "gw", "epoch": "ffff", "lane": "live", "seq": 1}).encode()

    take(ledger, 1)
    assert ledger.take("taiqu/v1/gw/readings", other) is Taken.NEW
    assert ledger.take("taiqu/v1/gw/history", message(1, "history")) is Taken.NEW
    assert ledger.summary().epochs == 2


def test_what_the_gateway_gave_up_is_shed_and_not_a_gap() -> None:
    ledger = Ledger()
    take(ledger, 1, 5)
    shed = {"code": "shed", "lane": "live", "first": 2, "last": 4, "count": 3, "reason": "age"}

    ledger.take("taiqu/v1/gw/events", message(1, "urgent", event=shed))
    summary = ledger.summary()
    assert (summary.gaps, summary.shed) == (0, 3)
    take(ledger, 3)
    assert ledger.summary().shed == 2, "it came after all"


def test_the_newest_value_of_a_meter_stays_when_older_ones_come_late() -> None:
    ledger = Ledger()
    new = reading("2026-01-01T00:15:00.000Z", power_active="5")
    old = reading("2026-01-01T00:00:00.000Z", power_active="1", balance="9.99")
    ledger.take("taiqu/v1/gw/readings", message(2, readings=[new]))
    ledger.take("taiqu/v1/gw/history", message(1, "history", readings=[old, "nonsense", 1]))

    last = ledger.meters["A01"]
    assert last.taken == "2026-01-01T00:15:00.000Z"
    assert last.values == {"power_active": "5", "balance": "9.99"}
    assert ledger.summary().readings == 2


def test_states_are_kept_and_results_are_grouped_by_command() -> None:
    ledger = Ledger()
    status = json.dumps({"gateway": "gw", "epoch": EPOCH, "state": "online"}).encode()

    assert ledger.take("taiqu/v1/gw/status", status) is Taken.STATE
    assert ledger.states["gw", "status"]["state"] == "online"
    for seq, stage in enumerate(("accepted", "confirmed"), 1):
        ledger.take("taiqu/v1/gw/results", message(seq, "urgent", id="c1", stage=stage))
    assert [result["stage"] for result in ledger.results["c1"]] == ["accepted", "confirmed"]


@given(st.binary(max_size=60) | st.from_type(bytes))
def test_no_payload_is_more_than_unreadable(payload: bytes) -> None:
    ledger = Ledger()

    assert ledger.take("taiqu/v1/gw/readings", payload) is Taken.UNREADABLE
    assert ledger.summary().messages == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = ("epoch", "lane", "seq", "readings", "event", "id")


@given(fields=st.dictionaries(st.sampled_from(NAMES), json_values), seq=st.integers(-2, 3))
def test_no_json_object_breaks_the_books(fields: dict[str, Any], seq: int) -> None:
    ledger = Ledger()
    body = {"gateway": "gw", "epoch": EPOCH, "lane": "live", "seq": seq} | fields

    taken = ledger.take("taiqu/v1/gw/events", json.dumps(body).encode())

    assert ledger.counts[taken] == 1
    assert ledger.summary().messages == (taken is Taken.NEW)


def test_deep_nesting_and_foreign_topics_are_unreadable() -> None:
    ledger = Ledger()

    assert ledger.take("taiqu/v1/gw/readings", b"[" * 200_000) is Taken.UNREADABLE
    assert ledger.take("taiqu/v1/other/readings", message(1)) is Taken.UNREADABLE
    assert ledger.take("elsewhere", message(1)) is Taken.UNREADABLE


def test_times_are_put_right_whichever_comes_first() -> None:
    def message(lane: str, seq: int, **more: object) -> bytes:
        body = {"gateway": "gw", "epoch": "0" * 16, "lane": lane, "seq": seq} | more
        return json.dumps(body).encode()

    def reading(taken: str, clock: str) -> dict[str, str]:
        return {"meter": "M", "taken": taken, "clock": clock}

    early = [
        reading("1970-01-01T00:00:10.500Z", "unknown"),
        reading("2026-01-01T00:00:00.000Z", "trusted"),
    ]
    late = [reading("1970-01-01T00:00:20.000Z", "unknown")]
    told = {
        "code": "clock_found",
        "restamp": [{"lane": "live", "first": 1, "last": 2, "offset_s": "1767225600.000"}],
    }
    ledger = Ledger()
    ledger.take("taiqu/v1/gw/readings", message("live", 2, readings=early))
    ledger.take("taiqu/v1/gw/events", message("urgent", 1, event=told))
    assert [one["taken"] for one in ledger.restamped()] == ["2026-01-01T00:00:10.500Z"]
    ledger.take("taiqu/v1/gw/readings", message("live", 1, readings=late))
    ledger.take("taiqu/v1/gw/readings", message("live", 3, readings=late))

    assert [one["taken"] for one in ledger.restamped()] == [
        "2026-01-01T00:00:10.500Z", "2026-01-01T00:00:20.000Z",
    ]  # fmt: skip
    nonsense = {"code": "clock_found", "restamp": [{"lane": "live", "first": "x"}]}
    ledger.take("taiqu/v1/gw/events", message("urgent", 2, event=nonsense))
