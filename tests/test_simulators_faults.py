"""Every fault of the wire, one at a time: what it does to the bytes, and that it is counted."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from protocols import dlt645, modbus
from protocols.base import Reply
from simulators.dlt645_meter import DLT645Meter
from simulators.faults import Faults, FaultsError, FaultyLine
from simulators.household import Household
from simulators.line import Line
from simulators.meter import Settings
from simulators.server import Talk
from simulators.uart import misread

NOW = 1_795_320_000.0
ONE, TWO = "000000000001", "000000000002"
CHARACTER_S = 11 / 2400


def pair() -> Line:
    return Line([DLT645Meter(address, Household(address)) for address in (ONE, TWO)])


def faulty(text: str, seed: int = 1, one: str = "") -> FaultyLine:
    """A pair with ``text``'s faults, and meter ``ONE`` with those of ``one``."""
    return FaultyLine(pair(), Faults.parse(text), Random(seed), {ONE: Faults.parse(one)})


def ask(line: FaultyLine, address: str = ONE, now: float = NOW) -> list[tuple[float, bytes]]:
    return line.hear(dlt645.encode(dlt645.read(address, "00010000")), now, 2400, "E")


def sound(address: str = ONE) -> bytes:
    [(_, data)] = pair().hear(dlt645.encode(dlt645.read(address, "00010000")), NOW, 2400, "E")
    return data


def test_without_faults_it_is_the_line_itself() -> None:
    line = faulty("")

    assert ask(line) == [(0.04, sound())]
    assert not any(line.injected.values())
    assert line.character_s(2400) == CHARACTER_S


def test_the_same_seed_gives_the_same_faults() -> None:
    def day(seed: int) -> list[list[tuple[float, bytes]]]:
        line = faulty("all,lost=0.2,late=0.2,babble=0", seed)
        return [ask(line, (ONE, TWO)[n % 2], NOW + 60 * n) for n in range(200)]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_bit_errors_come_as_often_as_asked() -> None:
    line = faulty("bit_errors=0.01")
    for n in range(500):
        ask(line, now=NOW + 60 * n)

    request_bits, reply_bits = 8 * 20, 8 * 24
    most = 500 * 0.01 * (request_bits + reply_bits)
    # Answers fail to come where the request was hurt: about 0.99 ** 160 of them come.
    assert 500 * 0.01 * request_bits * 0.7 < line.injected["bit_errors"] < most


@pytest.mark.parametrize(("kind", "longer"), [("lost", -1), ("extra", 1), ("doubled", 1)])
def test_a_byte_more_or_less(kind: str, longer: int) -> None:
    line = faulty("", one=f"{kind}=1")

    [(_, data)] = ask(line)
    assert len(data) == len(sound()) + longer
    assert line.injected[kind] == 1
    # Taking the byte out again, or putting it back, gives the answer.
    shorter, whole = sorted((data, sound()), key=len)
    assert any(whole[:at] + whole[at + 1 :] == shorter for at in range(len(whole)))


def test_a_request_is_hurt_as_well() -> None:
    line = faulty("lost=1")

    heard = [ask(line, now=NOW + 60 * n) for n in range(20)]
    unanswered = heard.count([])
    assert unanswered > 10, "all but four of the 20 bytes matter"
    assert line.injected["lost"] == 20 + 20 - unanswered


def test_pieces_with_gaps_are_the_answer() -> None:
    line = faulty("split=1,gap_s=0.3")
    for n in range(20):
        heard = ask(line, now=NOW + 60 * n)
        assert 2 <= len(heard) <= 4
        reply, _ = dlt645.decode(b"".join(data for _, data in heard), dlt645.read(ONE, "00010000"))
        assert isinstance(reply, Reply)
        for (delay_s, data), (following_s, _) in pairwise(heard):
            gap_s = following_s - delay_s - len(data) * CHARACTER_S
            assert 0.01 <= gap_s <= 0.3


def test_an_echo_ends_with_the_request_and_the_answer_follows() -> None:
    request = dlt645.encode(dlt645.read(ONE, "00010000"))
    whole, part = ask(faulty("echo=1")), ask(faulty("echo_part=1"))

    assert whole == [(-len(request) * CHARACTER_S, request), (0.04, sound())]
    (begins_s, echoed), answer = part
    assert request.endswith(echoed)
    assert 0 < len(echoed) < len(request)
    assert begins_s == -len(echoed) * CHARACTER_S
    assert answer == (0.04, sound())


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("tail", lambda data: data.endswith(sound()) and data[: -len(sound())] in sound()),
        ("ghost", lambda data: data[0] in (0, 255) and data.endswith(sound())),
        ("noise", lambda data: data.startswith(sound()) and len(data) <= len(sound()) + 4),
    ],
)
def test_something_stands_around_the_answer(kind: str, kept: Callable[[bytes], bool]) -> None:
    line = faulty(f"{kind}=1")
    ask(line)

    [(_, data)] = ask(line, now=NOW + 0.001)
    assert len(data) > len(sound())
    assert kept(data)
    assert line.injected[kind] >= 1


def test_a_foreign_answer_comes_first_or_instead() -> None:
    line = faulty("", one="foreign=1")
    assert ask(line) == [(0.04, sound())], "nobody else has spoken yet"
    ask(line, TWO)

    seen = {tuple(data for _, data in ask(line)) for _ in range(20)}
    assert seen == {(sound(TWO),), (sound(TWO), sound(ONE))}
    assert line.injected["foreign"] == 20


def test_late_is_after_what_a_gateway_waits() -> None:
    line = faulty("late=1,late_s=2")

    delays_s = [ask(line, now=NOW + 60 * n)[0][0] for n in range(50)]
    assert all(1.04 <= delay_s <= 2.04 for delay_s in delays_s)


def test_silence_lasts_a_while_and_is_one_meters() -> None:
    line = faulty("", one="silence=1,silence_s=100")

    assert ask(line) == []
    line.meters = {}
    assert ask(line, TWO) == [(0.04, sound(TWO))]
    assert ask(line, now=NOW + 9) == []
    assert len(ask(line, now=NOW + 101)) == 1
    assert line.injected["silence"] == 1


def test_while_a_device_babbles_nobody_is_understood() -> None:
    line = faulty("", one="babble=1,babble_s=5")

    answer, *babble = sorted(ask(line), key=lambda each: len(each[1]) != len(sound()))
    assert answer[1] == sound()
    assert 5 <= len(babble) <= 50
    assert ask(line, TWO, NOW + 0.6) == []
    assert len(ask(line, TWO, NOW + 7)) == 1
    assert line.injected["babble"] == 1


def test_another_parity_or_speed_is_garbage() -> None:
    slow, other, fast = Settings(2400, "E"), Settings(2400, "N"), Settings(4800, "E")
    data = sound()

    assert misread(data, slow, slow) == data
    assert misread(data, other, other) == data
    assert misread(data, slow, other) != data
    assert len(misread(data, slow, fast)) > len(data)
    line = faulty("misread=1")
    for n in range(20):
        [(_, heard)] = ask(line, now=NOW + 60 * n)
        assert dlt645.find_frame(heard)[0] is None


def test_a_meters_own_faults_come_on_top_of_the_lines() -> None:
    both = Faults.parse("late=0.5,noise=0.1,late_s=9").together(Faults.parse("late=0.2,echo=1"))

    assert (both.late, both.noise, both.echo, both.late_s) == (0.5, 0.1, 1.0, 1.8)
    assert Faults.parse("late=0.5").together(Faults()) == Faults(late=0.5)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("latte=1", "unknown fault 'latte'; there are: all, bit_errors, lost"),
        ("late", "'late': write late=CHANCE, from 0 to 1"),
        ("late=2", "'late=2': write late=CHANCE"),
        ("late=-1", "'late=-1': write"),
        ("late=nan", "'late=nan': write"),
        ("late=1;echo=1", "'late=1;echo=1': write"),
        ("latte=1,echo=x", "unknown fault 'latte'.*; 'echo=x': write"),
    ],
)
def test_a_text_that_names_no_faults(text: str, problem: str) -> None:
    with pytest.raises(FaultsError, match=problem):
        Faults.parse(text)
    assert not Faults.parse("")
    assert Faults.parse("all, silence_s=5").silence_s == 5


def test_answers_that_collide_are_shifted_by_their_delays() -> None:
    meters = [DLT645Meter(ONE, Household(str(n)), delay_s=n / 20) for n in (1, 2)]
    request = dlt645.encode(dlt645.read(ONE, "00010000"))

    [(delay_s, mixed)] = Line(meters).hear(request, NOW, 2400, "E")
    [(_, first)] = Line(meters[:1]).hear(request, NOW, 2400, "E")
    assert delay_s == 0.05
    assert mixed[:10] == first[:10], "50 ms are 11 characters, and FE bytes hide nothing yet"
    assert len(mixed) == 11 + len(first)


def test_a_late_answer_does_not_hold_up_the_port() -> None:
    late = Talk(faulty("late=1"), lambda: 2400, None)
    late.heard(dlt645.encode(dlt645.read(ONE, "00010000")), NOW, 10.0)
    due = late.next_due
    assert due is not None
    assert due > 11

    late.heard(modbus.rtu.encode(modbus.Request(1, 4, 0, 2)), NOW + 0.5, 10.5)
    assert late.next_due == due, "what nobody answers changes nothing"
    late.heard(dlt645.encode(dlt645.read(TWO, "00010000")), NOW + 1, due)
    assert late.due(due + 0.2).startswith(b"\xfe")
