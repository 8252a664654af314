"""Frames as meters and masters send them, from tests/golden/dlt645-*.txt.

Each is read whole, byte by byte, and with noise around it.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from protocols import dlt645
from protocols.base import RefusedError, Reply, Stray
from protocols.dlt645_explain import explain

GOLDEN = Path(__file__).parent / "golden"
NOISE_BEFORE, NOISE_BEHIND = bytes.fromhex("00 68 FF"), bytes.fromhex("FE 68")


@dataclass(frozen=True)
class Case:
    sent: bool
    raw: bytes
    expected: tuple[str, ...]

    @property
    def frame(self) -> dlt645.Frame:
        address, control, *data = self.expected[0].split()
        return dlt645.Frame(address, int(control, 16), bytes.fromhex("".join(data)))

    @property
    def request(self) -> dlt645.Request:
        """What this reply may have answered."""
        function = self.frame.control & dlt645.FUNCTION
        data = b""
        if function in (dlt645.READ, dlt645.FOLLOW_UP, 0x03):
            data = self.frame.data[:4].ljust(4, b"\x00")
        if function == dlt645.FOLLOW_UP:
            data += self.frame.data[-1:]
        if function == dlt645.WRITE_ADDRESS:
            data = bytes.fromhex(self.frame.address)[::-1]
        if function == dlt645.CHANGE_SPEED:
            data = self.frame.data
        address = dlt645.EVERY_METER if function == dlt645.READ_ADDRESS else self.frame.address
        return dlt645.Request(address, function, data)


def cases(*names: str) -> list[object]:
    found: list[object] = []
    for name in names:
        for block in (GOLDEN / f"dlt645-{name}.txt").read_text().split("\n\n")[1:]:
            lines = [line for line in block.splitlines() if not line.startswith("#")]
            expected = tuple(line[3:] for line in lines if line.startswith("=>"))
            frame = next(line for line in lines if line[:2] in (">>", "<<"))
            case = Case(frame.startswith(">>"), bytes.fromhex(frame[3:]), expected)
            found.append(pytest.param(case, id=f"{name}: {block.splitlines()[0][2:50]}"))
    return found


def ask(buffer: bytes, request: dlt645.Request) -> Reply | str:
    """The reply in ``buffer``, listening past strays, or why there is none."""
    try:
        while True:
            found, used = dlt645.decode(buffer, request)
            if not isinstance(found, Stray):
                return found or "nothing"
            buffer = buffer[used:]
            if not buffer:
                return found.value
    except RefusedError as error:
        return f"refused: {str(error).split(': ', 1)[1].split(' (error')[0]}"


def test_every_frame_is_there() -> None:
    assert [len(cases(n)) for n in ("reads", "writes", "refusals", "damaged")] == [
        55, 36, 10, 5,
    ]  # fmt: skip


@pytest.mark.parametrize("case", cases("reads", "writes", "refusals"))
def test_a_good_frame_is_found(case: Case) -> None:
    raw = case.raw
    preamble = len(raw) - len(raw.lstrip(b"\xfe"))

    assert dlt645.encode_frame(case.frame, preamble) == raw
    assert dlt645.find_frame(raw) == (case.frame, len(raw))
    for end in range(len(raw)):
        assert dlt645.find_frame(raw[:end])[0] is None
    assert dlt645.find_frame(NOISE_BEFORE + raw + NOISE_BEHIND)[0] == case.frame


def answer(case: Case) -> Reply | str:
    """What ``decode`` must make of a meter's frame."""
    frame, function = case.frame, case.frame.control & dlt645.FUNCTION
    if frame.control & dlt645.REFUSED:
        return case.expected[1]
    if function == dlt645.READ_ADDRESS:
        return Reply(case.expected[1], bytes.fromhex(case.expected[1]))
    if function == dlt645.READ and not frame.data:
        return Stray.LATE.value
    data = frame.data[4:] if function in (dlt645.READ, dlt645.FOLLOW_UP) else frame.data
    data = data[:-1] if function == dlt645.FOLLOW_UP else data
    return Reply(frame.address, data, more=frame.control == 0xB1)


@pytest.mark.parametrize("case", cases("reads", "writes", "refusals"))
def test_a_reply_answers_its_request(case: Case) -> None:
    if case.sent:
        request = dlt645.Request(case.frame.address, case.frame.control, case.frame.data)
        assert dlt645.encode(request) == b"\xfe" * 4 + case.raw.lstrip(b"\xfe")
        assert dlt645.decode(case.raw, request) == (Stray.ECHO, len(case.raw))
        return
    expected = answer(case)

    assert ask(case.raw, case.request) == expected
    for end in range(len(case.raw)):
        assert dlt645.decode(case.raw[:end], case.request)[0] is None
    if expected != Stray.LATE.value:
        echo = dlt645.encode(case.request)
        assert ask(NOISE_BEFORE + echo + case.raw + NOISE_BEHIND, case.request) == expected


def told(facts: dict[str, object]) -> str:
    """The facts as the golden files write them."""
    if "refused" in facts:
        return f"refused: {facts['refused']}"
    value, quality = facts.get("value"), facts.get("quality")
    values = list(value.values()) if isinstance(value, dict) else value
    values = values if isinstance(values, list) else [values]
    qualities = quality if isinstance(quality, list) else [quality]
    words = [str(v or q) for v, q in zip(values, qualities, strict=True) if v or q]
    sequence = f"sequence {facts['seq']}" if "seq" in facts else None
    parts = (facts.get("di"), ", ".join(words), facts.get("unit"), sequence)
    return " ".join(str(part) for part in parts if part)


@pytest.mark.parametrize("case", cases("reads", "writes", "refusals"))
def test_a_good_frame_is_explained(case: Case) -> None:
    facts = explain(case.raw).facts

    assert (facts["valid"], facts["error"], facts["year"]) == (True, None, 2007)
    data = bytes.fromhex(str(facts["data"])).hex(" ").upper()
    assert f"{facts['address']} {facts['control']} {data}".rstrip() == case.expected[0]
    assert told(facts) == "".join(case.expected[1:])


@pytest.mark.parametrize("case", cases("damaged"))
def test_a_bad_frame_is_refused_for_the_stated_reason(case: Case) -> None:
    facts = explain(case.raw).facts

    assert (facts["valid"], facts["error"]) == (False, case.expected[0])
    assert dlt645.find_frame(case.raw)[0] is None
    for around in (b"", b"\x00"):
        found, _ = dlt645.decode(around + case.raw + around, dlt645.read_address())
        assert found is (Stray.DAMAGED if case.expected[0].startswith("checksum") else None)
