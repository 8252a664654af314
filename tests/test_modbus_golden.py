"""Real frames, whole, byte by byte and with noise around them: what master and meter make of them.

The form of the files is told at the top of each of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocols.base import RefusedError, Reply, Stray
from protocols.modbus import Request, rtu, tcp
from protocols.modbus_explain import explain
from protocols.modbus_values import Order, decode_value, registers

GOLDEN = sorted((Path(__file__).parent / "golden").glob("modbus-*.txt"))
DLT645 = bytes.fromhex("68 18 20 12 22 20 65 68 91 0A 33 32 34 35 33 33 33 33 C7 56 13 16")
GHOSTS = (b"\x00", b"\xff", b"\xfe\xfe\xfe\xfe", b"\x00\xff\xfe")


@dataclass
class Case:
    """One block of a file."""

    name: str
    tcp: bool
    asked: Request | None = None
    sent: bytes = b""
    refused_by_meter: bool = False
    heard: list[tuple[bytes, str]] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    @property
    def number(self) -> int:
        return int.from_bytes(self.sent[:2], "big") if self.tcp else 0

    @property
    def events(self) -> list[str]:
        return [event for _, event in self.heard if event != "nothing"]


def parse(block: str, name: str, *, over_tcp: bool) -> Case:
    case = Case(name, over_tcp)
    for line in block.splitlines():
        mark, text = line[:2], line[3:]
        if mark == "??":
            unit, function, register, count, *values = text.split()
            into = int(values.pop(0)[1:]) if values and values[0].startswith("@") else 0
            written = tuple(int(value, 16) for value in values)
            case.asked = Request(int(unit), int(function), int(register), int(count), written, into)
        elif mark == ">>":
            case.sent = bytes.fromhex(text)
        elif mark == "<<":
            case.heard.append((bytes.fromhex(text), ""))
        elif mark != "=>":
            continue
        elif text == "no request":
            case.refused_by_meter = True
        elif text.startswith("value"):
            case.values.append(text)
        else:
            case.heard[-1] = (case.heard[-1][0], text)
    return case


def load() -> Iterator[Case]:
    for path in GOLDEN:
        for block in path.read_text().split("\n\n")[1:]:
            name = f"{path.stem}-{block[2:].partition('.')[0].partition(':')[0]}"
            yield parse(block.strip(), name, over_tcp="tcp" in path.stem)


CASES = list(load())


def listen(case: Case, *chunks: bytes) -> list[str]:
    """What a line makes of the chunks, in the words of the golden files."""
    assert case.asked
    codec = tcp if case.tcp else rtu
    events: list[str] = []
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while True:
            try:
                found, used = codec.decode(buffer, case.asked, case.number)
            except RefusedError as error:
                return [*events, f"refused {error.code}" + " permanent" * error.permanent]
            assert 0 <= used <= len(buffer)
            buffer = buffer[used:]
            if found is None:
                break
            if isinstance(found, Reply):
                assert found.address == case.asked.address
                return [*events, f"reply {found.data.hex(' ', 2).upper()}".rstrip()]
            events.append(f"stray {found.value}")
    return events


def each_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def test_every_published_frame_is_here() -> None:
    assert len(CASES) == 42 + 16 + 7 + 10
    assert {event.split()[0] for case in CASES for event in case.events} == {
        "reply", "refused", "stray"
    }  # fmt: skip
    assert {event for case in CASES for event in case.events if event.startswith("stray")} == {
        f"stray {stray.value}" for stray in Stray if stray is not Stray.GARBLED
    }


@pytest.mark.parametrize("case", [c for c in CASES if c.sent], ids=lambda c: c.name)
def test_the_request(case: Case) -> None:
    if case.tcp:
        request, used, number = tcp.find_request(b"\xff\x00\x00" + case.sent)
        assert number == case.number
    else:
        request, used = rtu.find_request(b"\xff\x00\x00" + case.sent)
    if case.refused_by_meter:
        assert (request, used) == (None, 0)
        return

    assert case.asked
    assert (request, used) == (case.asked, len(case.sent) + 3)
    assert (tcp if case.tcp else rtu).encode(case.asked, case.number) == case.sent
    find = tcp.find_request if case.tcp else rtu.find_request
    for end in range(len(case.sent)):
        assert find(case.sent[:end])[0] is None


HEARD = [c for c in CASES if c.heard]


@pytest.mark.parametrize("case", HEARD, ids=lambda c: c.name)
def test_what_is_heard(case: Case) -> None:
    whole = b"".join(frame for frame, _ in case.heard)
    assert listen(case, whole) == case.events
    assert listen(case, *each_byte(whole)) == case.events
    assert listen(case, *(frame for frame, _ in case.heard)) == case.events
    for ghost in GHOSTS:
        # Ghost bytes behind a frame cut short would complete it, to a damaged one.
        after = ghost if case.heard[-1][1] != "nothing" else b""
        assert listen(case, ghost + whole + after) == case.events
        assert listen(case, *each_byte(ghost + whole + after)) == case.events


@pytest.mark.parametrize("case", HEARD, ids=lambda c: c.name)
def test_a_frame_cut_short_is_waited_for(case: Case) -> None:
    assert case.asked
    codec = tcp if case.tcp else rtu
    frame, event = case.heard[-1]
    for end in range(len(frame) if event != "nothing" else 0):
        assert codec.decode(frame[:end], case.asked, case.number) == (None, 0)


ANSWERED = [c for c in HEARD if c.heard[-1][1].startswith(("reply", "refused"))]


@pytest.mark.parametrize("case", [c for c in ANSWERED if not c.tcp], ids=lambda c: c.name)
def test_nothing_in_front_of_a_good_answer_hides_it(case: Case) -> None:
    frame, event = case.heard[-1]
    for end in range(1, len(frame)):  # the beginning of a frame that never came to its end
        assert listen(case, frame[:end] + frame)[-1] == event
        assert listen(case, *each_byte(frame[:end] + frame))[-1] == event
    assert listen(case, DLT645 + frame) == ["stray foreign", event]
    assert listen(case, *each_byte(DLT645 + frame)) == ["stray foreign", event]


@pytest.mark.parametrize("case", ANSWERED, ids=lambda c: c.name)
def test_a_meter_says_it_in_the_same_bytes(case: Case) -> None:
    assert case.asked
    codec = tcp if case.tcp else rtu
    frame, event = case.heard[-1]
    what, _, text = event.partition(" ")
    if what == "reply":
        reply = codec.encode_reply(case.asked, bytes.fromhex(text), case.number)
        assert codec.reply_size(case.asked) == (256 if case.asked.function == 43 else len(frame))
    else:
        reply = codec.encode_exception(case.asked, int(text.split()[0]), case.number)
    assert reply == frame


@pytest.mark.parametrize("case", [c for c in CASES if c.values], ids=lambda c: c.name)
def test_the_values(case: Case) -> None:
    data = bytes.fromhex(case.heard[-1][1].removeprefix("reply"))
    for value in case.values:
        what, _, expected = value.partition(" = ")
        _, type_name, _, first, *order = what.split()
        at, words = 2 * int(first), registers(type_name)
        word_order: Order = "little" if order else "big"
        decoded = decode_value(data[at : at + 2 * words], type_name, word_order=word_order)
        assert decoded is not None
        # The files round single floats to their seven digits; an integer has no tolerance.
        assert math.isclose(decoded, float(expected), rel_tol=1e-7 * ("f" in type_name))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_explained(case: Case) -> None:
    for frame, event in [(case.sent, ">>"), *case.heard]:
        explanation = explain(frame)
        told = bytes.fromhex("".join(row.bytes_hex for row in explanation.rows))
        assert told == frame
        if not frame or frame.startswith(b"\xfe") or (case.tcp and event == "nothing"):
            continue  # no frame, or none of this protocol
        facts = explanation.facts
        bad = event in ("nothing", "stray damaged") or case.name.endswith("misprint")
        assert (facts["valid"], facts["error"] is None) == (not bad, not bad), facts["error"]
        assert facts["protocol"] == ("modbus-tcp" if case.tcp else "modbus-rtu")
        if event.startswith("refused"):
            assert facts["exception"] == int(event.split()[1])
        elif event.startswith("reply ") and facts["function"] in (3, 4, 23):
            words = event.removeprefix("reply ").split()
            assert facts["registers"] == [int(word, 16) for word in words]
            assert facts["kind"] == "reply"
