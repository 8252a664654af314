"""Gateways that number their answers themselves: believed where told so, and never too late."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.acts import Act, Listen, Open, Rest, Transmit
from gateway.acquisition.exchange import Manners
from gateway.acquisition.line import Line
from gateway.events import Event, Fault, Job, JobDone, PortChanged, PortSettings, Priority
from protocols.base import RefusedError, Reply, Stray
from protocols.modbus import Request, tcp
from protocols.modbus_unnumbered import unnumbered

READ = Request(unit=7, function=4, register=0x0156, count=2)
DATA = bytes.fromhex("42F6E979")
NUMBER = 4711


@pytest.mark.parametrize("number", [0, NUMBER, NUMBER - 3, 1, 0xFFFF])
def test_an_answer_is_known_without_its_number(number: int) -> None:
    answer = tcp.encode_reply(READ, DATA, number)

    assert unnumbered.decode(answer, READ, NUMBER) == (Reply("7", DATA), len(answer))
    with pytest.raises(RefusedError, match="illegal data address"):
        unnumbered.decode(tcp.encode_exception(READ, 2, number), READ, NUMBER)


@pytest.mark.parametrize(
    ("asked", "data"),
    [
        (Request(unit=8, function=4, register=0x0156, count=2), DATA),
        (Request(unit=7, function=3, register=0x0156, count=2), DATA),
        (Request(unit=7, function=4, register=0x0156, count=3), DATA + b"\1\1"),
    ],
)
def test_an_answer_of_another_unit_function_or_size_is_none(asked: Request, data: bytes) -> None:
    other, answer = tcp.encode_reply(asked, data, 0), tcp.encode_reply(READ, DATA, 0)

    found, used = unnumbered.decode(other + answer, READ, NUMBER)
    assert isinstance(found, Stray)
    assert used == len(other)
    assert unnumbered.decode((other + answer)[used:], READ, NUMBER)[0] == Reply("7", DATA)


@given(
    number=st.integers(0, 0xFFFF),
    values=st.lists(st.sampled_from((0, 3, 4, 7, 0x0704, 0x0405)), min_size=20, max_size=20),
    cut=st.integers(0, 49),
)
def test_what_looks_like_a_header_within_a_value_is_left_alone(
    number: int, values: list[int], cut: int
) -> None:
    long = Request(unit=7, function=4, register=0, count=20)
    data = b"".join(value.to_bytes(2, "big") for value in values)
    answer = tcp.encode_reply(long, data, number)

    assert unnumbered.decode(answer[: min(cut, len(answer) - 1)], long, NUMBER) == (None, 0)
    assert unnumbered.decode(answer, long, NUMBER) == (Reply("7", data), len(answer))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise_anything_else(noise: bytes) -> None:
    try:
        found, used = unnumbered.decode(noise, READ, NUMBER)
    except RefusedError:
        return
    assert 0 <= used <= len(noise)
    assert found is None or used


@pytest.mark.parametrize(("number", "kind"), [(0, Stray.NUMBER), (NUMBER - 2, Stray.LATE)])
def test_the_strict_codec_says_why_it_drops_an_answer(number: int, kind: Stray) -> None:
    answer = tcp.encode_reply(READ, DATA, number)
    assert tcp.decode(answer, READ, NUMBER) == (kind, len(answer))
    short = tcp.encode_reply(Request(7, 4, 0x0156, 1), DATA[:2], 0)
    assert tcp.decode(short, READ, NUMBER)[0] is not Stray.NUMBER


class Rig:
    """A line to such a gateway; the test plays the gateway."""

    def __init__(self, *, reconnect: bool = True) -> None:
        self.events: list[Event] = []
        manners = Manners(
            codec=unnumbered, settings=PortSettings(), wire=False, late_s=0.0, reconnect=reconnect
        )
        self.line = Line("net", {"M": manners}, self.events.append, Random(1))
        self.now = 100.0
        self.line.port_up(self.now)

    def act(self, heard: bytes = b"") -> Act:
        act = self.line.advance(self.now, self.now, heard)
        if isinstance(act, Rest) and act.until < self.now + 1:
            self.now = act.until
            return self.act()
        return act

    def ask(self, *requests: Request, tries: int = 1) -> None:
        job = Job(
            id=1, meter="M", priority=Priority.POLL, requests=requests, not_after=1e9, tries=tries
        )
        self.line.submit(job, self.now)


def test_a_late_answer_is_lost_with_its_connection() -> None:
    rig = Rig()
    rig.ask(READ, READ, tries=1)
    assert isinstance(rig.act(), Transmit)
    listening = rig.act()
    assert isinstance(listening, Listen)
    rig.now = listening.until

    # Nothing was heard: no next request before a new connection, however late the answer is.
    assert isinstance(rig.act(), Open)
    rig.line.port_up(rig.now)
    (done,) = [event for event in rig.events if isinstance(event, JobDone)]
    assert {outcome.fault for outcome in done.outcomes} == {Fault.SILENT}
    assert not [event for event in rig.events if isinstance(event, PortChanged)][1:]

    rig.ask(READ)
    assert isinstance(rig.act(), Transmit)
    assert isinstance(rig.act(), Listen)
    assert isinstance(rig.act(tcp.encode_reply(READ, DATA, 9)), Rest)
    last = rig.events[-1]
    assert isinstance(last, JobDone)
    assert last.outcomes[0].reply == Reply("7", DATA)


def test_a_gateway_that_does_not_take_us_back_is_an_outage() -> None:
    rig = Rig()
    rig.ask(READ)
    assert isinstance(rig.act(), Transmit)
    listening = rig.act()
    assert isinstance(listening, Listen)
    rig.now = listening.until
    assert isinstance(rig.act(), Open)
    rig.line.port_lost(rig.now, "refused")

    assert rig.events[-1] == PortChanged("net", up=False, reason="refused")
    assert isinstance(rig.act(), Open | Rest)
