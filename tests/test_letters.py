"""Orders through the letterbox and about money: the core, the store and the keys are real."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.letters import AGAIN_S, PATIENCE_S, Local
from gateway.money.journal_messages import digest_message, journal_message
from gateway.north import contract
from gateway.north.commands import digest
from gateway.north.contract_money import Digest, Journal
from gateway.north.strict import ContractError
from gateway.orders import Outcome
from gateway.prepayment.drafts import top_up_of_nobody
from gateway.prepayment.ledger import Transaction
from gateway.store.commands import Answers, Known
from gateway.store.database import ReadOnly
from gateway.store.faults import DiskFullError
from gateway.store.journal import Totals
from gateway.store.letterbox import Letter, Letterbox, post
from gateway.store.outbox import Lane
from tests.keyring import MONEY, OFFICE, OPEN, STRANGER, TOP_UP, sealed, write_keys
from tests.rooms import Gateway, read_command, write_config
from tests.rooms import command as ordered


@dataclass(slots=True)
class Till:
    """A cashier who notes in the database what he was told, and answers as he is told."""

    gateway: Gateway
    outcome: Outcome = field(default_factory=lambda: Outcome("confirmed", data={"balance": "1"}))
    seen: list[tuple[str, str]] = field(default_factory=list)
    fails: int = 0

    def execute(self, command: contract.Command, by: str, wall: float) -> Outcome:
        if self.fails:
            self.fails -= 1
            raise DiskFullError("no room")
        name = command.command.name
        assert wall == self.gateway.clock.now()
        self.seen.append((name, by))
        if self.outcome.stage != "refused":
            self.gateway.database.set_meta(f"did {command.id}", name)
        return self.outcome

    def did(self, id_: str) -> str | None:
        return self.gateway.database.meta(f"did {id_}")


class Site:
    """A gateway with a letterbox and keys, and what a test does to it."""

    def __init__(self, directory: Path) -> None:
        config = write_config(directory, period_s=3600, more=write_keys(directory))
        self.box = Letterbox(directory / "store" / "letterbox")
        self.gateway = Gateway(config, local=Local(self.box))
        self.till = Till(self.gateway)
        self.gateway.core._orders.cashier = self.till
        self.gateway.run(1)
        self.gateway.answer()

    def post(self, id_: str, what: Mapping[str, Any] | bytes, who: str = "alice") -> bytes:
        payload = what if isinstance(what, bytes) else json.dumps(what).encode()
        post(self.box.path.parent, Letter(id=id_, who=who, what=payload, posted=0.0))
        return payload

    def answer(self, id_: str, payload: bytes) -> list[tuple[str, str]]:
        """What another process reads of a command's answer."""
        with ReadOnly(self.gateway.database.path) as file:
            answers = Answers(file)
            if answers.known(id_, digest(payload)) is not Known.KNOWN:
                return []
            return [(one.stage, one.reason) for one in answers.results(id_)]

    def close(self) -> None:
        self.box.close()
        self.gateway.database.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


def order(id_: str, body: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return {**ordered(id_, dict(body)), "gateway": "gw", **more}


# --- the cashier ----------------------------------------------------------------------------------


def test_a_signed_top_up_reaches_the_cashier_once(site: Site) -> None:
    payload = sealed(order("t-1", TOP_UP), MONEY)
    for mid in (1, 2):
        site.gateway.tell("commands", payload, mid=mid)

    assert site.till.seen == [("topup", "key cash")]
    assert site.till.did("t-1") == "topup"
    assert site.gateway.results("t-1") == [("confirmed", "")] * 2
    assert site.gateway.link.acknowledged == [1, 2]
    body = next(b for m, b in site.gateway.stored(Lane.URGENT) if b.get("id") == "t-1")
    assert body["data"] == {"balance": "1"}


def test_what_the_cashier_refuses_is_stored_and_published(site: Site) -> None:
    site.till.outcome = Outcome("refused", "hoarding limit: 500.00 at most")
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP), MONEY))

    assert site.gateway.results("t-1") == [("refused", "hoarding limit: 500.00 at most")]
    (event,) = [e for e in site.gateway.events() if e["code"] == "money_refused"]
    assert {key: event[key] for key in ("command", "name", "account", "payment", "reason")} == {
        "command": "t-1",
        "name": "topup",
        "account": "1001",
        "payment": "p-1",
        "reason": "hoarding limit: 500.00 at most",
    }
    assert site.till.did("t-1") is None


def test_without_prepayment_money_is_refused_by_name(site: Site) -> None:
    site.gateway.core._orders.cashier = None
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP), MONEY))
    site.gateway.run(6)
    assert site.gateway.results("t-1") == [("refused", "prepayment is not configured here")]


def test_without_prepayment_any_more_what_was_answered_stays_so(site: Site) -> None:
    payload = sealed(order("t-1", TOP_UP), MONEY)
    site.gateway.tell("commands", payload)
    site.gateway.core._orders.cashier = None
    site.gateway.tell("commands", payload, mid=2)
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP | {"amount": "1"}), MONEY), mid=3)
    site.gateway.run(6)
    stages = [stage for stage, _ in site.gateway.results("t-1")]
    assert stages == ["confirmed", "confirmed", "refused"]


def test_an_unsigned_or_forged_order_never_reaches_the_cashier(site: Site) -> None:
    for n, payload in enumerate(
        [
            json.dumps(order("t-1", TOP_UP)).encode(),
            sealed(order("t-1", TOP_UP), STRANGER),
            sealed(order("t-1", TOP_UP), OFFICE),
        ]
    ):
        site.gateway.tell("commands", payload, mid=n)
    site.gateway.run(10)

    reasons = [reason.split(":")[0] for _, reason in site.gateway.results("t-1")]
    assert reasons == ["unsigned", "wrong signature", "out of role"]
    assert site.till.seen == []
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP), MONEY))
    assert site.till.seen == [("topup", "key cash")], "a stranger cannot use up an id"


def test_a_failed_commit_leaves_nothing_and_the_order_comes_again(site: Site) -> None:
    site.till.fails = 1
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP), MONEY))
    assert site.gateway.link.acknowledged == []
    assert site.gateway.results("t-1") == []
    site.gateway.run(10)

    assert site.till.did("t-1") == "topup"
    assert site.gateway.link.acknowledged == [1]


def test_money_is_never_forgotten(site: Site) -> None:
    site.gateway.tell("commands", sealed(order("t-1", TOP_UP), MONEY))
    site.gateway.tell("commands", read_command("r-1", "A9"))
    commands = site.gateway.core._commands
    with site.gateway.database.transaction():
        assert commands.forget(1e12) == 1
    assert commands.results("t-1")


# --- letters --------------------------------------------------------------------------------------


def test_a_letter_is_an_order_and_its_answer_is_there_to_read(site: Site) -> None:
    payload = site.post("l-1", order("l-1", OPEN), who="alice on /dev/pts/3")
    assert site.answer("l-1", payload) == []
    site.gateway.run(1)

    assert site.answer("l-1", payload) == [("confirmed", "")]
    assert site.till.seen == [("account.open", "alice on /dev/pts/3")]
    assert site.gateway.results("l-1") == [("confirmed", "")], "the head-end hears of it"
    assert site.box.waiting() == []


def test_money_by_letter_needs_a_key(site: Site) -> None:
    unsigned = site.post("l-1", order("l-1", TOP_UP))
    signed = site.post("l-2", sealed(order("l-2", TOP_UP), MONEY))
    site.gateway.run(1)

    ((stage, reason),) = site.answer("l-1", unsigned)
    assert (stage, reason.split(":")[0]) == ("refused", "unsigned")
    assert site.answer("l-2", signed) == [("confirmed", "")]
    assert site.till.seen == [("topup", "key cash")]


def test_a_read_by_letter_is_answered_when_the_meter_has(site: Site) -> None:
    payload = site.post("l-1", read_command("l-1"))
    site.gateway.run(1)
    assert site.answer("l-1", payload) == [("accepted", "")]
    site.gateway.answer()
    site.gateway.run(1)
    assert site.answer("l-1", payload) == [("accepted", ""), ("confirmed", "")]


def test_an_expired_letter_is_answered_so(site: Site) -> None:
    late = ordered("l-1", OPEN, for_s=0.5)
    payload = site.post("l-1", late)
    site.gateway.run(5)
    assert site.answer("l-1", payload) == [("expired", "not_after has passed")]
    assert site.till.seen == []


def test_an_id_that_is_another_command_s_changes_nothing(site: Site) -> None:
    first = site.post("l-1", order("l-1", OPEN))
    site.gateway.run(1)
    other = site.post("l-1", order("l-1", {"name": "emergency", "account": "1001"}))
    odd = site.post("no id!", order("l-2", OPEN))
    foreign = site.post("l-3", order("l-2", OPEN))
    site.gateway.run(10)

    assert site.answer("l-1", first) == [("confirmed", "")]
    assert site.answer("l-1", other) == []
    assert site.answer("no id!", odd) == []
    assert site.answer("l-3", foreign) == [("refused", "its id is not that of the command in it")]
    assert [name for name, _ in site.till.seen] == ["account.open"]
    assert site.gateway.codes().count("command_refused") == 3


def test_a_letter_waits_while_there_is_no_room(site: Site) -> None:
    site.till.fails = 6
    payload = site.post("l-1", order("l-1", OPEN))
    site.gateway.run(2)
    assert site.answer("l-1", payload) == []
    site.gateway.run(3)
    assert site.answer("l-1", payload) == [("confirmed", "")]


def test_letters_keep_their_order_and_many_are_taken(site: Site) -> None:
    for n in range(70):
        site.post(f"l-{n}", order(f"l-{n}", OPEN | {"account": str(n)}))
    site.gateway.run(5)
    done = [b["id"] for m, b in site.gateway.stored(Lane.URGENT) if m.kind == "results"]
    assert done == [f"l-{n}" for n in range(70)]


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_damaged_letterbox_is_set_aside_and_said(site: Site) -> None:
    site.box.path.write_bytes(b"rubbish" * 1000)
    site.gateway.run(10)

    assert site.gateway.codes().count("letterbox_set_aside") == 1
    payload = site.post("l-1", order("l-1", OPEN))
    site.gateway.run(1)
    assert site.answer("l-1", payload) == [("confirmed", "")]


def test_a_letterbox_that_somebody_locks_is_reported_once_and_harms_nobody(site: Site) -> None:
    site.post("l-1", order("l-1", OPEN))
    other = sqlite3.connect(site.box.path, isolation_level=None)
    other.execute("begin exclusive")
    site.gateway.run(2 * PATIENCE_S + 10)

    assert site.gateway.codes().count("letterbox_unusable") == 1
    site.gateway.tell("commands", read_command("r-1", "A9"))
    assert site.gateway.results("r-1"), "orders by MQTT go on"
    other.execute("rollback")
    other.close()
    site.gateway.run(2)
    assert site.till.seen == [("account.open", "alice")]


def test_a_letterbox_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "letterbox").write_text("a file where the directory should be")
    site = Site(tmp_path)
    site.gateway.run(3 * AGAIN_S)
    assert site.gateway.codes().count("letterbox_unusable") == 1
    (tmp_path / "store" / "letterbox").unlink()
    site.gateway.run(AGAIN_S + 2)
    payload = site.post("l-1", order("l-1", OPEN))
    site.gateway.run(2)
    assert site.answer("l-1", payload) == [("confirmed", "")]
    site.close()


def test_a_letter_found_again_after_a_crash_does_nothing(site: Site) -> None:
    """Killed between the commit and the letterbox's own: the letter is still there."""
    payload = site.post("l-1", order("l-1", OPEN))
    site.box.clear = lambda: None  # type: ignore[method-assign]
    site.gateway.run(2)
    assert site.till.did("l-1")

    again = Letterbox(site.box.path.parent)
    site.gateway.local = Local(again)
    site.gateway.restart()
    till = Till(site.gateway)
    site.gateway.core._orders.cashier = till
    site.gateway.run(3)

    assert till.seen == []
    assert site.answer("l-1", payload) == [("confirmed", "")]
    assert again.waiting() == []
    again.close()


# --- strangers ------------------------------------------------------------------------------------

WORDS = st.sampled_from(["topup", "account.open", "adjust", "voucher", "1001", "-1", "0", "", "￥"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def nearly(draw: st.DrawFn) -> bytes:
    """An order in which one thing is wrong, perhaps signed; or any bytes at all."""
    if draw(st.booleans()):
        return draw(st.binary(max_size=300))
    tree = order("f-1", draw(st.sampled_from([OPEN, TOP_UP])))
    target = tree if draw(st.booleans()) else tree["command"]
    target[draw(st.sampled_from([*target, "extra"]))] = draw(JSON)
    if draw(st.booleans()):
        with suppress(ContractError):
            return sealed(tree, draw(st.sampled_from([MONEY, OFFICE, STRANGER])))
    return json.dumps(tree).encode(errors="surrogatepass")


def kept(site: Site) -> list[list[tuple[Any, ...]]]:
    """Everything that an order can change."""
    queries = ("select * from command", "select * from result", "select * from meta")
    return [site.gateway.database.rows(query) for query in queries]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(payload=nearly())
def test_any_payload_is_refused_by_name_and_changes_nothing(site: Site, payload: bytes) -> None:
    accepted = len(site.till.seen)
    site.gateway.run(61)
    before = kept(site)
    known = len(site.gateway.codes())

    site.gateway.tell("commands", payload)
    if (
        len(site.till.seen) > accepted
        or site.gateway.core._orders._commands.known("f-1", digest(payload)) is not Known.NEW
    ):
        return  # Hypothesis found a good one: another value that is right, too
    assert kept(site) == before
    site.gateway.run(6)
    told = site.gateway.events()[known:]
    assert [event["code"] for event in told] == ["command_refused"]
    assert told[0]["detail"]
    assert told[0]["detail"].isascii()


# --- up -------------------------------------------------------------------------------------------


def test_a_digest_stays_with_the_broker_and_the_journal_does_not(site: Site) -> None:
    recorder = site.gateway.core._recorder
    totals = Totals(transactions=0, hash=bytes(32), sums={})

    def digest_of(seq: int) -> Digest:
        envelope = "gw", recorder.epoch, seq
        return digest_message(envelope, recorder.stamp(), date(2026, 7, 1), 0, totals, MONEY)

    def journal_of(seq: int) -> Journal:
        draft = top_up_of_nobody(
            claimed="9", key="top_up:p", effective=0.0, channel="bank", amount_e4=1
        )
        transaction = Transaction(
            number=1, draft=draft, recorded=0.0, clock="trusted", hash=bytes(32)
        )
        return journal_message("gw", recorder.epoch, [transaction])(seq)

    site.gateway.connect()
    recorder.later(lambda: recorder.digest(digest_of))
    recorder.later(lambda: recorder.journal(journal_of))
    site.gateway.run(10)

    kept = {kind: retain for kind, _, retain in site.gateway.link.published}
    assert (kept["digest"], kept["journal"], kept["events"]) == (True, False, False)
    lanes = {m.kind: m.lane for m, _ in site.gateway.stored()}
    assert lanes["digest"] is lanes["journal"] is Lane.URGENT
