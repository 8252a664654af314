"""What holds for all Modbus bytes there are, and for all values."""

import contextlib
import itertools
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.base import FrameError, RefusedError, Reply, RequestError, Stray
from protocols.modbus import Request, RtuCodec, TcpCodec, identify, rtu, tcp
from protocols.modbus_explain import explain
from protocols.modbus_identity import objects, reply_data
from protocols.modbus_values import (
    TYPES,
    Order,
    decode_value,
    encode_value,
    registers,
    to_fixed,
)
from protocols.modbus_wire import crc16

reads = st.builds(
    Request,
    unit=st.integers(0, 255),
    function=st.sampled_from((3, 4)),
    register=st.integers(0, 65_411),
    count=st.integers(1, 125),
)
words = st.integers(0, 0xFFFF)
write_one = st.builds(
    lambda unit, register, value: Request(unit, 6, register, 1, (value,)),
    st.integers(0, 255),
    words,
    words,
)
write_many = st.builds(
    lambda unit, register, values: Request(unit, 16, register, len(values), tuple(values)),
    st.integers(0, 255),
    st.integers(0, 65_413),
    st.lists(words, min_size=1, max_size=123),
)
read_bits = st.builds(
    Request,
    unit=st.integers(0, 255),
    function=st.sampled_from((1, 2)),
    register=st.integers(0, 63_535),
    count=st.integers(1, 2000),
)
coils = st.builds(
    lambda unit, register, values: Request(unit, 15, register, len(values), tuple(values)),
    st.integers(0, 255),
    st.integers(0, 63_535),
    st.lists(st.integers(0, 1), min_size=1, max_size=100),
)
write_read = st.builds(
    lambda unit, register, count, values, into: Request(
        unit, 23, register, count, tuple(values), into
    ),
    st.integers(0, 255),
    st.integers(0, 65_411),
    st.integers(1, 125),
    st.lists(words, min_size=1, max_size=121),
    st.integers(0, 65_411),
)
identities = st.builds(identify, st.integers(0, 255), st.integers(1, 4), st.integers(0, 255))
requests = reads | write_one | write_many | read_bits | coils | write_read | identities
codecs = st.sampled_from((rtu, tcp))
orders: st.SearchStrategy[Order] = st.sampled_from(("big", "little"))


def answer_to(request: Request, data: bytes) -> bytes:
    """What ``request`` asks for, made of ``data``: its bytes, or one object that holds them."""
    if request.data_bytes is None:
        return bytes([0, 1, request.register, len(data[:200])]) + data[:200]
    return (data * 250 + bytes(250))[: request.data_bytes]


def heard(
    codec: RtuCodec | TcpCodec, request: Request, number: int, chunks: list[bytes]
) -> list[Reply | Stray | RefusedError]:
    events: list[Reply | Stray | RefusedError] = []
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        found: Reply | Stray | None = Stray.LATE
        while found:
            try:
                found, used = codec.decode(buffer, request, number)
            except RefusedError as error:
                return [*events, error]
            assert 0 <= used <= len(buffer)
            buffer = buffer[used:]
            if found:
                events.append(found)
            if isinstance(found, Reply):
                return events
    return events


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(codec=codecs, request=requests, number=words)
def test_a_meter_hears_what_was_asked(
    codec: RtuCodec | TcpCodec, request: Request, number: int
) -> None:
    sent = codec.encode(request, number)

    assert codec.find_request(sent)[:2] == (request, len(sent))
    if isinstance(codec, TcpCodec):
        assert codec.find_request(sent)[2] == number


@given(
    codec=codecs,
    request=requests,
    number=words,
    data=st.binary(max_size=250),
    noise=st.binary(max_size=40),
    cuts=st.lists(st.integers(0)),
)
def test_a_good_answer_is_found_behind_any_noise_and_in_any_pieces(
    codec: RtuCodec | TcpCodec,
    request: Request,
    number: int,
    data: bytes,
    noise: bytes,
    cuts: list[int],
) -> None:
    if codec is tcp:  # a TCP stream loses nothing, so noise never is half an answer to us
        noise = noise.replace(b"\0", b"\1")
        number |= 0x0101
    reply = codec.encode_reply(request, answer_to(request, data), number)

    *strays, last = heard(codec, request, number, split(noise + reply, cuts))

    assert last == Reply(request.address, answer_to(request, data))
    assert all(isinstance(stray, Stray) for stray in strays)


@given(
    codec=codecs,
    request=requests,
    number=words,
    code=st.integers(1, 255),
    noise=st.binary(max_size=40),
    cuts=st.lists(st.integers(0)),
)
def test_so_is_a_refusal(
    codec: RtuCodec | TcpCodec,
    request: Request,
    number: int,
    code: int,
    noise: bytes,
    cuts: list[int],
) -> None:
    if codec is tcp:
        noise = noise.replace(b"\0", b"\1")
        number |= 0x0101
    refusal = codec.encode_exception(request, code, number)

    last = heard(codec, request, number, split(noise + refusal, cuts))[-1]

    assert isinstance(last, RefusedError)
    assert (last.code, last.permanent) == (code, code in (1, 2, 3))


@given(
    codec=codecs,
    request=reads,
    others=st.lists(requests, max_size=3),
    data=st.binary(max_size=250),
    cuts=st.lists(st.integers(0)),
)
def test_how_the_bytes_were_cut_changes_nothing(
    codec: RtuCodec | TcpCodec,
    request: Request,
    others: list[Request],
    data: bytes,
    cuts: list[int],
) -> None:
    frames = [codec.encode_reply(r, answer_to(r, data), 7 + i) for i, r in enumerate(others)]
    frames.append(codec.encode_reply(request, answer_to(request, data), 7 + len(others)))
    line = b"".join(frames)
    number = 7 + len(others)

    whole = heard(codec, request, number, [line])

    assert isinstance(whole[-1], Reply)
    assert heard(codec, request, number, split(line, cuts)) == whole


@given(request=requests, data=st.binary(max_size=250), at=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_never_passes_for_the_truth(
    request: Request, data: bytes, at: int, flip: int
) -> None:
    reply = bytearray(rtu.encode_reply(request, answer_to(request, data)))
    reply[at % len(reply)] ^= flip

    with contextlib.suppress(RefusedError):
        found, _ = rtu.decode(bytes(reply), request)
        assert not isinstance(found, Reply)


@given(
    codec=codecs,
    noise=st.binary(max_size=400),
    request=requests,
    number=words,
)
def test_no_bytes_raise_anything_but_a_refusal(
    codec: RtuCodec | TcpCodec, noise: bytes, request: Request, number: int
) -> None:
    with contextlib.suppress(RefusedError):
        _, used = codec.decode(noise, request, number)
        assert 0 <= used <= len(noise)
    assert 0 <= codec.find_request(noise)[1] <= len(noise)


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=120)
known = st.dictionaries(st.integers(0, 255), texts, min_size=1, max_size=12)


@given(codec=codecs, device=known, level=st.sampled_from((1, 2, 3)))
def test_a_device_tells_all_of_itself_in_as_many_frames_as_it_takes(
    codec: RtuCodec | TcpCodec, device: dict[int, str], level: int
) -> None:
    ask: Request | None = identify(9, level)
    told = b""
    while ask:
        data = reply_data(device, level, ask.register)
        if data is None:
            break
        found, _ = codec.decode(codec.encode_reply(ask, data), ask)
        assert isinstance(found, Reply)
        assert len(codec.encode_reply(ask, data)) <= codec.reply_size(ask)
        told += found.data
        ask = codec.follow_up(ask, found)

    last = {1: 2, 2: 6, 3: 255}[level]
    assert objects(told) == {n: text for n, text in device.items() if n <= last}


@given(st.binary(max_size=60))
def test_no_bytes_of_an_identification_raise_anything_but_a_frame_error(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        assert all(0 <= number <= 255 for number in objects(data))


frames = st.builds(
    lambda body, end: bytes(body) + (crc16(bytes(body)).to_bytes(2, "little") if end else b""),
    st.tuples(
        st.sampled_from((0, 1, 247)), st.integers(0, 255) | st.just(43), *([st.integers(0, 9)] * 6)
    ),
    st.booleans(),
)


@given(st.binary(max_size=40) | frames)
def test_every_byte_is_explained_once(data: bytes) -> None:
    explanation = explain(data)

    assert bytes.fromhex("".join(row.bytes_hex for row in explanation.rows)) == data
    assert explanation.facts["valid"] is (explanation.facts["error"] is None)


@pytest.mark.parametrize("type_name", TYPES)
@given(data=st.data())
def test_a_value_survives_every_order(type_name: str, data: st.DataObject) -> None:
    size = 2 * registers(type_name)
    raw = data.draw(st.binary(min_size=size, max_size=size))
    byte_order, word_order = data.draw(orders), data.draw(orders)

    value = decode_value(raw, type_name, byte_order, word_order)

    if value is None:
        assert type_name.startswith(("f", "bcd"))
        return
    assert encode_value(value, type_name, byte_order, word_order) == raw


@given(
    data=st.binary(max_size=12),
    type_name=st.sampled_from((*TYPES, "u17")),
    value=st.none() | st.integers() | st.floats(),
)
def test_no_value_raises_anything_but_its_own_error(
    data: bytes, type_name: str, value: float | None
) -> None:
    with contextlib.suppress(FrameError, RequestError):
        decode_value(data, type_name)
    with contextlib.suppress(RequestError):
        assert len(encode_value(value, type_name)) == 2 * registers(type_name)


@given(value=st.floats(allow_nan=False, allow_infinity=False), decimals=st.integers(-3, 6))
def test_to_fixed_is_the_nearest_step(value: float, decimals: int) -> None:
    distance = abs(Fraction(value) * Fraction(10) ** decimals - to_fixed(value, decimals))

    assert distance <= Fraction(1, 2)


@given(amount=st.integers(-(10**15), 10**15), decimals=st.integers(0, 6))
def test_what_fifteen_digits_hold_comes_back_exactly(amount: int, decimals: int) -> None:
    assert to_fixed(amount / 10**decimals, decimals) == amount


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_single_floats_are_read_as_the_machine_reads_them(value: float) -> None:
    assert decode_value(struct.pack(">f", value), "f32") == value
