"""What the golden files cannot say: wrong requests, the texts of refusals, orders and rounding."""

import math

import pytest

from protocols.base import Codec, FrameError, RefusedError, Reply, RequestError, Stray
from protocols.modbus import Request, rtu, tcp
from protocols.modbus_explain import explain
from protocols.modbus_values import Order, decode_value, encode_value, registers, to_fixed
from protocols.modbus_wire import crc16

READ = Request(unit=1, function=4, register=0x0156, count=2)


def sealed(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


def test_both_are_codecs() -> None:
    codecs: list[Codec[Request]] = [rtu, tcp]

    assert [codec.reply_size(READ) for codec in codecs] == [9, 13]
    assert [codec.follow_up(READ, Reply("1", b"")) for codec in codecs] == [None, None]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((256, 3, 0), "Modbus unit must be 0..255, got 256"),
        (
            (1, 7, 0),
            "Modbus function 7 is not supported; use 1, 2, 3, 4, 5, 6, 15, 16, 23, 43",
        ),
        ((1, 1, 0, 2001), "Modbus count for function 1 must be 1..2000, got 2001"),
        ((1, 2, 65_000, 600), "Modbus last register must be 0..65535, got 65599"),
        ((1, 5, 0, 1, (2,)), "Modbus value must be 0..1, got 2"),
        ((1, 15, 0, 2, (1,)), "Modbus function 15 on 2 coil(s) takes 2 value(s), got 1"),
        ((1, 23, 0, 1), "Modbus count of values to write must be 1..121, got 0"),
        (
            (1, 23, 0, 1, (1, 2), 65_535),
            "Modbus last register to write must be 0..65535, got 65536",
        ),
        ((1, 3, 0, 1, (), 7), "Modbus function 3 takes no register to write"),
        ((1, 43, 256), "Modbus object must be 0..255, got 256"),
        ((1, 43, 0, 5), "Modbus count for function 43 must be 1..4, got 5"),
        ((1, 3, 65_536), "Modbus register must be 0..65535, got 65536"),
        ((1, 3, -1), "Modbus register must be 0..65535, got -1"),
        ((1, 3, 0, 126), "Modbus count for function 3 must be 1..125, got 126"),
        ((1, 4, 0, 0), "Modbus count for function 4 must be 1..125, got 0"),
        ((1, 4, 65_535, 2), "Modbus last register must be 0..65535, got 65536"),
        ((1, 6, 0, 2, (1, 2)), "Modbus count for function 6 must be 1..1, got 2"),
        ((1, 16, 0, 124, (0,) * 124), "Modbus count for function 16 must be 1..123, got 124"),
        ((1, 16, 0, 2, (1,)), "Modbus function 16 on 2 register(s) takes 2 value(s), got 1"),
        ((1, 3, 0, 1, (1,)), "Modbus function 3 on 1 register(s) takes no value(s), got 1"),
        ((1, 6, 0, 1, (65_536,)), "Modbus value must be 0..65535, got 65536"),
    ],
)
def test_what_no_frame_can_say(fields: tuple[int, ...], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Request(*fields)  # type: ignore[arg-type]

    assert str(caught.value) == message


def test_a_refusal_says_who_what_why_and_what_to_do() -> None:
    refusal = rtu.encode_exception(READ, 0x02)

    with pytest.raises(RefusedError) as caught:
        rtu.decode(refusal, READ)

    assert str(caught.value) == (
        "meter 1 refused to read registers 342..343 by function 4: illegal data address"
        " (error 02H); check register and count; it may refuse to read a gap"
    )
    assert caught.value.permanent


@pytest.mark.parametrize("code", [0x0A, 0x0B])
def test_a_unit_missing_behind_a_gateway_may_come_back(code: int) -> None:
    with pytest.raises(RefusedError, match="unit missing behind the gateway") as caught:
        tcp.decode(tcp.encode_exception(READ, code, 9), READ, 9)

    assert not caught.value.permanent


def test_an_unknown_exception_is_still_a_refusal() -> None:
    with pytest.raises(RefusedError, match=r"unknown exception \(error 77H\)"):
        rtu.decode(rtu.encode_exception(READ, 0x77), READ)


def test_nobody_answers_a_broadcast_write_on_a_line() -> None:
    write = Request(unit=0, function=6, register=2, values=(5,))

    assert (rtu.reply_size(write), tcp.reply_size(write)) == (0, 12)
    assert rtu.reply_size(Request(unit=0, function=3, register=2)) == 7


def test_a_meter_must_say_as_many_registers_as_were_asked_for() -> None:
    with pytest.raises(RequestError, match=r"registers 342\.\.343 .* has 4 bytes, got 2"):
        rtu.encode_reply(READ, b"\0\0")


def test_the_longest_frames() -> None:
    read = Request(1, 3, 0, 125)
    write = Request(1, 16, 0, 123, (0xFFFF,) * 123)

    assert rtu.reply_size(read) == len(rtu.encode_reply(read, bytes(250))) == 255
    assert len(rtu.encode(write)) == 255
    assert rtu.find_request(rtu.encode(write)) == (write, 255)


def test_a_long_silence_full_of_noise_is_let_go() -> None:
    noise = b"\xfe" * 1000
    found, used = rtu.decode(noise, READ)

    assert (found, used) == (None, 1000 - 267)
    assert rtu.decode(noise[used:] + rtu.encode_reply(READ, bytes(4)), READ)[0] == Reply(
        "1", bytes(4)
    )


def test_noise_that_the_first_byte_of_the_answer_makes_a_frame_does_not_swallow_it() -> None:
    reply = rtu.encode_reply(READ, bytes(4))
    noise = next(
        refusal[:-1]
        for unit in range(2, 256)
        for code in range(256)
        if (refusal := sealed(bytes([unit, 0x84, code])))[-1] == reply[0]
    )

    assert rtu.decode(noise, READ)[0] is None
    assert rtu.decode(noise + reply[:1], READ) == (Stray.FOREIGN, len(noise))
    assert rtu.decode(noise + reply, READ) == (Reply("1", bytes(4)), len(noise) + len(reply))


ABCD: list[tuple[Order, Order, str]] = [
    ("big", "big", "0A 0B 0C 0D"),
    ("big", "little", "0C 0D 0A 0B"),
    ("little", "big", "0B 0A 0D 0C"),
    ("little", "little", "0D 0C 0B 0A"),
]


@pytest.mark.parametrize(("byte_order", "word_order", "wire"), ABCD)
def test_the_four_layouts_of_32_bits(byte_order: Order, word_order: Order, wire: str) -> None:
    data = encode_value(0x0A0B0C0D, "u32", byte_order, word_order)

    assert data.hex(" ").upper() == wire
    assert decode_value(data, "u32", byte_order, word_order) == 0x0A0B0C0D


def test_64_bits_swap_four_words() -> None:
    assert encode_value(0x0102030405060708, "u64", "big", "little").hex() == "0708050603040102"
    assert encode_value(0x0102030405060708, "u64", "little", "big").hex() == "0201040306050807"


@pytest.mark.parametrize(
    ("type_name", "wire", "value"),
    [
        ("u16", "FFFF", 65_535),
        ("i16", "FFFF", -1),
        ("i32", "FFFFFC A1", -863),
        ("u64", "FFFFFFFFFFFFFFFF", 2**64 - 1),
        ("i64", "8000000000000000", -(2**63)),
        ("f64", "4132D68700000000", 1234567.0),
        ("f32", "7FC00000", None),
        ("f32", "FF800000", None),
        ("f64", "7FF0000000000000", None),
        ("bcd16", "1234", 1234),
        ("bcd32", "00123456", 123_456),
        ("bcd32", "FFFFFFFF", None),
        ("bcd16", "12A4", None),
    ],
)
def test_values(type_name: str, wire: str, value: float | None) -> None:
    assert decode_value(bytes.fromhex(wire), type_name) == value


def test_values_that_fit_no_type() -> None:
    with pytest.raises(RequestError, match="unknown value type 'u17'; use one of u16, i16, u32"):
        registers("u17")
    with pytest.raises(FrameError, match="a value of type u32 has 4 bytes, got 2; frame: 00 01"):
        decode_value(b"\0\1", "u32")
    for value, type_name in (
        (-1, "u16"),
        (2**31, "i32"),
        (1e39, "f32"),
        (1.5, "u16"),
        (-1, "bcd16"),
    ):
        with pytest.raises(RequestError, match=f"does not fit into a value of type {type_name}"):
            encode_value(value, type_name)
    with pytest.raises(RequestError, match="123456 has too many digits for a value of type bcd16"):
        encode_value(123_456, "bcd16")


def test_no_value_at_all() -> None:
    assert decode_value(encode_value(None, "f32"), "f32") is None
    assert decode_value(encode_value(None, "bcd32"), "bcd32") is None
    with pytest.raises(RequestError, match="None does not fit into a value of type u16"):
        encode_value(None, "u16")


def test_floats_become_steps_by_their_exact_value() -> None:
    single = decode_value(bytes.fromhex("43663334"), "f32")
    assert single is not None

    assert to_fixed(single, 3) == 230_200
    assert [to_fixed(x, 2) for x in (0.125, 0.375, -0.125)] == [12, 38, -12]  # ties go to even
    assert to_fixed(1_234_567, -3) == 1235
    assert to_fixed(10**400, 1) == 10**401
    with pytest.raises(ValueError, match="nan has no decimal digits"):
        to_fixed(math.nan, 1)


@pytest.mark.parametrize(
    ("wire", "protocol", "error"),
    [
        ("", "modbus-rtu", "0 bytes are too few for a frame; the shortest has 4"),
        ("01 03 30 0D 00 01 79 84", "modbus-rtu", "CRC must be 1A C9 for these bytes"),
        ("02 03 02 3A", "modbus-rtu", "4 bytes, but a frame that begins so has 7 or 8"),
        (
            "01 03 02 00 01 79 84 00",
            "modbus-rtu",
            "a good frame, but bytes follow behind its end: 1",
        ),
        (
            "00 2D 00 00 00 07 01 03 04 43 66",
            "modbus-tcp",
            "length says 7 bytes follow, there are 5",
        ),
        (
            "00 2D 00 00 00 08 01 03 04 43 66 33 34 00",
            "modbus-tcp",
            "7 bytes from the function on are neither request nor reply",
        ),
        (
            "00 2D 00 00 00 0B 01 10 00 16 00 03 04 3F 80 00 00",
            "modbus-tcp",
            "byte count 4 does not fit count 3",
        ),
    ],
)
def test_explained_errors(wire: str, protocol: str, error: str) -> None:
    facts = explain(bytes.fromhex(wire)).facts

    assert (facts["protocol"], facts["valid"], facts["error"]) == (protocol, False, error)


def test_an_explanation_shows_what_registers_may_mean() -> None:
    explanation = explain(bytes.fromhex("01 04 04 43 66 33 34 1B 38"))

    assert [(row.bytes_hex, row.field, row.meaning) for row in explanation.rows] == [
        ("01", "unit", "meter 1"),
        ("04", "function", "read input registers"),
        ("04", "byte count", "4 bytes of registers follow"),
        (
            "43 66",
            "register +0",
            (
                "17254; with the next i32 1130771252, f32 230.2;"
                " words swapped i32 859063142, f32 4.197081e-08"
            ),
        ),
        ("33 34", "register +1", "13108"),
        ("1B 38", "CRC", "right"),
    ]
    assert explanation.facts == {
        "protocol": "modbus-rtu",
        "valid": True,
        "error": None,
        "address": "1",
        "function": 4,
        "kind": "reply",
        "data": "0443663334",
        "registers": [17_254, 13_108],
    }


def test_where_request_and_reply_look_alike_both_are_said() -> None:
    assert explain(bytes.fromhex("00 06 00 02 00 05 E9 D8")).facts["kind"] == "request or reply"
    assert explain(sealed(bytes([1, 1, 3, 0, 0, 8]))).facts["kind"] == "request or reply"
