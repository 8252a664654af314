"""Orders about supply on their way in: forged, replayed, late, retained, out of role, rubbish.

The core, the store, the keys and the letterbox are real; the switcher notes what reaches him.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.keys import key_table
from gateway.letters import Local
from gateway.north import contract
from gateway.north.commands import AT_THE_BOX, PROMPT, ROLES, Judge, Refusal, Valid
from gateway.north.contract import unix_s
from gateway.north.signatures import Signer
from gateway.north.strict import ContractError
from gateway.orders import Outcome
from gateway.store.letterbox import Letter, Letterbox, post
from gateway.store.outbox import Lane
from tests.keyring import MONEY, TOP_UP, sealed
from tests.rooms import Gateway, write_config
from tests.switching_orders import BY_NAME, CHIEF, FITTER, GOOD, RIGHTS, WATCH, ask, keys
from tests.world import START

TOPIC = "taiqu/v1/gw/commands"
TRIP = BY_NAME["relay.trip"]
QUARTER_S = 90 * 86_400.0


@dataclass(slots=True)
class Switcher:
    """Notes in the database what reached him, and answers as he is told."""

    gateway: Gateway
    outcome: Outcome = field(default_factory=lambda: Outcome("accepted"))
    seen: list[tuple[str, str, bool]] = field(default_factory=list)

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        assert wall == self.gateway.clock.now()
        self.seen.append((command.command.name, by, at_box))
        if self.outcome.stage != "refused":
            self.gateway.database.set_meta(f"did {command.id}", command.command.name)
        return self.outcome

    def works_on(self, command: str) -> bool:
        return self.gateway.database.meta(f"did {command}") is not None


class Box:
    """A gateway whose key file has everybody, and a letterbox."""

    def __init__(self, directory: Path) -> None:
        tables = [key_table(one, tuple(roles)) for one, roles in RIGHTS.values()]
        (directory / "keys.toml").write_text("\n".join(tables))
        (directory / "keys.toml").chmod(0o600)
        config = write_config(directory, period_s=3600, more='[keys]\nfile = "keys.toml"\n')
        self.letters = Letterbox(directory / "store" / "letterbox")
        self.gateway = Gateway(config, local=Local(self.letters))
        self.switcher = Switcher(self.gateway)
        self.gateway.core._orders.switcher = self.switcher
        self.gateway.run(1)
        self.gateway.answer()

    def tell(self, payload: bytes, *, retained: bool = False, mid: int = 1) -> None:
        self.gateway.tell("commands", payload, mid=mid, retained=retained)
        self.gateway.run(6)

    def post(self, id_: str, payload: bytes) -> None:
        post(self.letters.path.parent, Letter(id=id_, who="alice", what=payload, posted=0.0))
        self.gateway.run(6)

    def nothing_was_done(self) -> bool:
        rows = self.gateway.database.rows("select 1 from meta where key like 'did %'")
        return not self.switcher.seen and not rows


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    box.letters.close()
    box.gateway.database.close()


def holder(name: str) -> Signer:
    """Somebody who may order it."""
    return next(one for one, roles in RIGHTS.values() if ROLES[name] in roles)


# --- on its way in --------------------------------------------------------------------------------


def test_r03_an_order_reaches_the_switcher_once_and_a_repeat_gets_its_answer(box: Box) -> None:
    payload = sealed(ask("c-1", TRIP), FITTER)
    for mid in (1, 2, 3):
        box.tell(payload, mid=mid)

    assert box.switcher.seen == [("relay.trip", "key fitter", False)]
    assert box.gateway.results("c-1") == [("accepted", "")] * 3


def test_r03_a_repeat_after_a_restart_does_nothing_either(box: Box) -> None:
    payload = sealed(ask("c-1", TRIP), FITTER)
    box.tell(payload)
    box.gateway.restart()
    box.gateway.core._orders.switcher = box.switcher
    box.tell(payload, mid=2)
    assert len(box.switcher.seen) == 1


def test_the_same_id_with_another_meter_is_refused(box: Box) -> None:
    box.tell(sealed(ask("c-1", TRIP), FITTER))
    box.tell(sealed(ask("c-1", TRIP | {"meter": "X1"}), FITTER), mid=2)
    assert box.gateway.results("c-1")[-1] == ("refused", "this id was used for another command")
    assert len(box.switcher.seen) == 1


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (json.dumps(ask("c-1", TRIP)).encode(), "unsigned: "),
        (sealed(ask("c-1", TRIP), Signer("fitter", b"x" * 32)), "wrong signature: "),
        (sealed(ask("c-1", TRIP), Signer("nobody", b"x" * 32)), "unknown key: "),
        (sealed(ask("c-1", TRIP), CHIEF), "out of role: "),
        (sealed(ask("c-1", TRIP) | {"gateway": "gw-2"}, FITTER), "another gateway"),
        (sealed(ask("c-1", TRIP, for_s=3600), FITTER), "valid for 600 s at most"),
        (sealed(ask("c-1", TRIP, issued_s=3600), FITTER), "issued lies in the future"),
        (sealed(ask("c-1", TRIP | {"reason": "x" * 501}), FITTER), "reason"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_r06_forged_out_of_role_mis_addressed_and_oversized_orders(
    box: Box, payload: bytes, said: str
) -> None:
    box.tell(payload)
    ((stage, reason),) = box.gateway.results("c-1")
    assert stage == "refused"
    assert said in reason
    assert box.gateway.codes().count("command_refused") == 1
    assert box.nothing_was_done()


def test_r06_retained_orders_are_refused(box: Box) -> None:
    box.tell(sealed(ask("c-1", TRIP), FITTER), retained=True)
    assert "command_refused" in box.gateway.codes()
    assert box.nothing_was_done()


def test_a_payload_that_is_too_large_is_refused(box: Box) -> None:
    rows = [{"account": str(n), "load": "1"} for n in range(501)]
    shed = BY_NAME["shed"] | {"rows": rows}
    box.tell(sealed(ask("c-1", shed), FITTER))
    assert "rows" in box.gateway.results("c-1")[0][1]
    box.tell(b"{" + b" " * 70_000 + b"}", mid=2)
    assert box.nothing_was_done()


def test_r04_a_trip_of_three_months_ago_has_expired(box: Box) -> None:
    box.tell(sealed(ask("c-1", TRIP, issued_s=-QUARTER_S), FITTER))
    assert box.gateway.results("c-1") == [("expired", "not_after has passed")]
    assert box.nothing_was_done()


def test_r04_while_the_clock_is_not_trusted_a_trip_has_expired(box: Box) -> None:
    box.gateway.clock.synced = False
    box.gateway.run(10)
    box.tell(sealed(ask("c-1", TRIP, for_s=600), FITTER))
    ((stage, reason),) = box.gateway.results("c-1")
    assert (stage, "clock is not trusted" in reason) == ("expired", True)
    assert box.nothing_was_done()
    box.tell(sealed(ask("c-2", BY_NAME["stop"]), WATCH), mid=2)
    assert box.switcher.seen == [("stop", "key watch", False)], "what keeps supply is taken"


def test_500_trips_at_once_are_each_judged_and_answered(box: Box) -> None:
    box.switcher.outcome = Outcome("refused", "latched: too many cuts at once")
    for n in range(500):
        box.gateway.tell("commands", sealed(ask(f"c-{n}", TRIP), FITTER), mid=n)
    assert len(box.switcher.seen) == 500
    assert len(box.gateway.link.acknowledged) == 500
    answers = [b for m, b in box.gateway.stored(Lane.URGENT) if m.kind == "results"]
    assert [one["id"] for one in answers] == [f"c-{n}" for n in range(500)]
    assert {one["stage"] for one in answers} == {"refused"}
    rows = box.gateway.database.rows("select 1 from meta where key like 'did %'")
    assert not rows


# --- what becomes of it ---------------------------------------------------------------------------


def test_without_a_switcher_orders_are_refused(box: Box) -> None:
    box.gateway.core._orders.switcher = None
    box.tell(sealed(ask("c-1", TRIP), FITTER))
    assert box.gateway.results("c-1") == [("refused", "switching is not configured here")]


def test_a_refusal_is_recorded_and_published(box: Box) -> None:
    box.switcher.outcome = Outcome("refused", "no meter A1 here")
    box.tell(sealed(ask("c-1", TRIP), FITTER))
    event = next(one for one in box.gateway.events() if one["code"] == "switching_refused")
    del event["at"], event["clock"]
    assert event == {
        "code": "switching_refused",
        "command": "c-1",
        "name": "relay.trip",
        "account": "1001",
        "meter": "A1",
        "reason": "no meter A1 here",
    }
    assert box.gateway.core._orders._commands.results("c-1")[0].reason == "no meter A1 here"


def test_answers_come_in_stages_and_go_on_after_a_restart(box: Box) -> None:
    payload = sealed(ask("c-1", TRIP), FITTER)
    box.tell(payload)
    gateway = box.gateway
    gateway.restart()
    orders = gateway.core._orders
    orders.switcher = box.switcher
    orders._recorder._actions.clear()  # it began without him, and gave the order up
    orders.begin(gateway.clock.now())
    gateway.run(6)
    assert gateway.results("c-1") == [("accepted", "")]
    for stage in ("sent", "confirmed"):
        with gateway.database.transaction():
            orders.answer("c-1", stage, gateway.clock.now(), data={"meter": "A1"})
    assert [stage for stage, _ in gateway.results("c-1")] == ["accepted", "sent", "confirmed"]
    assert orders._commands.open() == []
    box.tell(payload, mid=2)
    assert [stage for stage, _ in gateway.results("c-1")][3:] == ["accepted", "sent", "confirmed"]


def test_an_order_that_nobody_works_on_any_more_has_failed(box: Box) -> None:
    box.tell(sealed(ask("c-1", TRIP), FITTER))
    box.gateway.restart()
    box.gateway.run(6)
    assert box.gateway.results("c-1")[-1] == ("failed", "the gateway restarted before it was done")


def test_orders_about_supply_are_remembered_for_ever(box: Box) -> None:
    box.tell(sealed(ask("c-1", TRIP), FITTER))
    with box.gateway.database.transaction():
        box.gateway.core._orders.answer("c-1", "confirmed", 0.0)
        box.gateway.core._orders._commands.forget(1e12)
    assert box.gateway.core._orders._commands.results("c-1")


def test_orders_about_money_do_not_reach_the_switcher(box: Box) -> None:
    box.post("m-1", sealed(ask("m-1", TOP_UP), MONEY))
    assert box.nothing_was_done()


# --- at the box -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(AT_THE_BOX & BY_NAME.keys()))
def test_at_the_box_supply_is_given_back_and_cuts_are_stopped_without_a_key(
    box: Box, name: str
) -> None:
    payload = json.dumps(ask("l-1", BY_NAME[name])).encode()
    box.post("l-1", payload)
    assert box.switcher.seen == [(name, "alice", True)]
    box.gateway.clock.synced = False
    box.gateway.run(10)
    box.post("l-2", json.dumps(ask("l-2", BY_NAME[name])).encode())
    assert len(box.switcher.seen) == 2, "by any clock"
    box.tell(json.dumps(ask("l-3", BY_NAME[name])).encode())
    assert len(box.switcher.seen) == 2, "but not from afar"


def test_at_the_box_a_trip_needs_its_key(box: Box) -> None:
    box.post("l-1", json.dumps(ask("l-1", TRIP)).encode())
    assert box.nothing_was_done()
    box.post("l-2", sealed(ask("l-2", TRIP), FITTER))
    assert box.switcher.seen == [("relay.trip", "key fitter", True)]


def test_r25_a_stop_in_the_letterbox_is_heard_within_a_second(box: Box) -> None:
    payload = json.dumps(ask("l-1", BY_NAME["stop"])).encode()
    post(box.letters.path.parent, Letter(id="l-1", who="alice", what=payload, posted=0.0))
    box.gateway.run(0.6)
    assert box.switcher.seen == [("stop", "alice", True)]


# --- laws -----------------------------------------------------------------------------------------

JUDGE = Judge("gw", keys())


def judged(payload: bytes, now: float = START + 1, *, trusted: bool = True) -> Valid | Refusal:
    found = JUDGE.message(TOPIC, payload, now, retained=False, trusted=trusted)
    assert isinstance(found, Valid | Refusal)
    return found


@given(
    body=st.sampled_from(GOOD),
    late_s=st.integers(-700, 100_000),
    for_s=st.integers(0, 100_000),
    trusted=st.booleans(),
)
def test_r04_no_order_that_could_cut_is_taken_late_or_by_a_doubtful_clock(
    body: dict[str, Any], late_s: int, for_s: int, *, trusted: bool
) -> None:
    payload = sealed(ask("c-1", body, for_s=for_s), holder(body["name"]))
    found = judged(payload, START + late_s, trusted=trusted)
    if not isinstance(found, Valid):
        return
    order = found.command.command
    assert isinstance(order, contract.SwitchingOrder)
    if order.name in PROMPT:
        assert for_s <= 601
    if not order.keeps_supply:
        assert trusted
        assert -60 <= late_s <= for_s
    assert not trusted or START + late_s <= unix_s(found.command.not_after)


SEALED = [sealed(ask("c-1", body), holder(body["name"])) for body in GOOD]


@given(payload=st.sampled_from(SEALED), at=st.integers(0), flip=st.integers(1, 255))
def test_no_changed_byte_of_an_order_is_taken(payload: bytes, at: int, flip: int) -> None:
    changed = bytearray(payload)
    changed[at % len(payload)] ^= flip
    assert isinstance(judged(payload), Valid)
    found = judged(bytes(changed))
    assert isinstance(found, Refusal)
    assert found.reason.isascii()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """A good order with one of its fields spoilt, signed by who may."""
    body = dict(draw(st.sampled_from(GOOD)))
    key = draw(st.sampled_from(sorted(body)))
    name = body["name"]
    body[key] = draw(JSON)
    tree = json.dumps(ask("c-1", body), allow_nan=True).encode()
    try:
        return sealed(json.loads(tree), holder(name))
    except ContractError:  # it is not even strict JSON
        return tree


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(payload=st.binary(max_size=200) | nearly())
def test_r06_any_bytes_are_refused_by_name_or_are_a_good_order(box: Box, payload: bytes) -> None:
    """Nothing raises, and what is refused changes nothing."""
    orders, database = box.gateway.core._orders, box.gateway.database
    before, seen = database._connection.total_changes, len(box.switcher.seen)
    box.gateway.tell("commands", payload)
    if isinstance(judged(payload, box.gateway.clock.now()), Refusal):
        assert (database._connection.total_changes, len(box.switcher.seen)) == (before, seen)
    else:
        assert orders._commands.results("c-1")
