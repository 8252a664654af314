"""Requests that change a meter: their bytes, their confirmations, and who may be asked."""

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645
from protocols import dlt645_control as control
from protocols.base import RefusedError, Reply, RequestError, Stray
from protocols.dlt645 import Frame, Request, decode, encode, encode_frame, reply_size
from protocols.dlt645_control import Authority

METER = "123456789012"
LEVEL_4 = Authority(bytes.fromhex("04 00 00 00"), bytes.fromhex("01 00 00 00"))
CHINA = timezone(timedelta(hours=8))
NOON = datetime(2026, 11, 21, 14, 15, 30, tzinfo=CHINA)


def data(request: Request) -> str:
    return f"{request.address} {request.control:02X} {request.data.hex(' ').upper()}".rstrip()


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            control.write(
                "111111111111",
                "04000601",
                b"\x05",
                Authority(bytes.fromhex("02000000")),
            ),
            "111111111111 14 01 06 00 04 02 00 00 00 00 00 00 00 05",
        ),
        (
            control.write_values(METER, "04000102", ["14:15:30"], LEVEL_4),
            f"{METER} 14 02 01 00 04 04 00 00 00 01 00 00 00 30 15 14",
        ),
        (control.write_address(METER), "AAAAAAAAAAAA 15 12 90 78 56 34 12"),
        (control.broadcast_time(NOON), "999999999999 08 30 15 14 21 11 26"),
        (
            control.broadcast_time(datetime(2017, 6, 5, 10, 40, 25, tzinfo=CHINA), "111111111111"),
            "111111111111 08 25 40 10 05 06 17",
        ),
        (control.freeze_now(), "999999999999 16 99 99 99 99"),
        (control.schedule_freeze(METER, 30), f"{METER} 16 30 99 99 99"),
        (control.schedule_freeze(METER, 0, 12), f"{METER} 16 00 12 99 99"),
        (control.schedule_freeze(METER, 0, 0, 28), f"{METER} 16 00 00 28 99"),
        (control.change_speed(METER, 9600), f"{METER} 17 20"),
        (control.clear_demand(METER, LEVEL_4), f"{METER} 19 04 00 00 00 01 00 00 00"),
    ],
)
def test_the_bytes_are_those_of_the_standard(request_: Request, expected: str) -> None:
    assert data(request_) == expected
    assert dlt645.find_frame(encode(request_))[0] == Frame(
        request_.address, request_.control, request_.data
    )


@pytest.mark.parametrize(
    ("request_", "good", "wrong"),
    [
        (
            control.write(METER, "04000601", b"\x05", LEVEL_4),
            (METER, 0x94, ""),
            (METER, 0x94, "00"),
        ),
        (
            control.write_address(METER),
            (METER, 0x95, ""),
            ("000000000001", 0x95, ""),
        ),
        (
            control.write_address(METER, "000000000001"),
            (METER, 0x95, ""),
            ("000000000001", 0x95, ""),
        ),
        (control.freeze_now(METER), (METER, 0x96, ""), (METER, 0x94, "")),
        (control.change_speed(METER, 2400), (METER, 0x97, "08"), (METER, 0x97, "20")),
        (control.clear_demand(METER, LEVEL_4), (METER, 0x99, ""), (METER, 0x99, "00")),
    ],
    ids=lambda value: str(value) if isinstance(value, Request) else None,
)
def test_only_the_right_confirmation_is_believed(
    request_: Request, good: tuple[str, int, str], wrong: tuple[str, int, str]
) -> None:
    confirmed, other = (
        encode_frame(Frame(address, code, bytes.fromhex(text)))
        for address, code, text in (good, wrong)
    )

    assert decode(confirmed, request_) == (
        Reply(good[0], bytes.fromhex(good[2])),
        len(confirmed),
    )
    assert decode(other, request_)[0] in (Stray.LATE, Stray.FOREIGN)
    assert len(confirmed) <= reply_size(request_)


def test_a_refusal_names_what_was_wanted() -> None:
    request = control.write(METER, "04000601", b"\x05", LEVEL_4)

    with pytest.raises(RefusedError, match="to write 04000601: password wrong or not authorised"):
        decode(encode_frame(Frame(METER, 0xD4, b"\x04")), request)
    with pytest.raises(RefusedError, match="to change its speed: rate cannot be changed"):
        decode(encode_frame(Frame(METER, 0xD7, b"\x08")), control.change_speed(METER, 19200))


@pytest.mark.parametrize(
    "request_",
    [control.broadcast_time(NOON), control.broadcast_time(NOON, METER), control.freeze_now()],
    ids=str,
)
def test_nobody_answers_a_broadcast(request_: Request) -> None:
    assert reply_size(request_) == 0


ONE_METER_ONLY = [
    lambda address: control.write(address, "04000601", b"\x05", LEVEL_4),
    lambda address: control.change_speed(address, 9600),
    lambda address: control.clear_demand(address, LEVEL_4),
    lambda address: control.schedule_freeze(address, 0),
    control.freeze_now,
    control.write_address,
    lambda address: control.write_address(METER, address),
    lambda address: control.broadcast_time(NOON, address),
]


@pytest.mark.parametrize("address", ["AAAAAAAAAA12", "12", "12345678901G", "", "١٢٣٤٥٦٧٨٩٠١٢"])
@pytest.mark.parametrize("build", ONE_METER_ONLY)
def test_a_change_is_for_one_meter(build: object, address: str) -> None:
    assert callable(build)
    with pytest.raises(RequestError, match="a change needs all its 12 digits"):
        build(address)


@pytest.mark.parametrize("build", ONE_METER_ONLY[:3])
def test_what_is_confirmed_is_not_broadcast(build: object) -> None:
    assert callable(build)
    with pytest.raises(RequestError, match="is not one meter's"):
        build(dlt645.BROADCAST)


def test_nobody_is_called_like_everybody() -> None:
    with pytest.raises(RequestError, match="is not one meter's"):
        control.write_address(dlt645.BROADCAST)
    with pytest.raises(RequestError, match="is not one meter's"):
        control.write_address(dlt645.EVERY_METER)


def test_what_cannot_be_said_is_refused() -> None:
    with pytest.raises(RequestError, match="300 baud has no speed word; use one of 600, 1200"):
        control.change_speed(METER, 300)
    with pytest.raises(RequestError, match="not 8 hex digits"):
        control.write(METER, "9010", b"\x00", LEVEL_4)
    with pytest.raises(RequestError, match="nothing to write"):
        control.write(METER, "04000601", b"", LEVEL_4)
    with pytest.raises(RequestError, match="at most 200 fit"):
        control.write(METER, "04000601", bytes(189), LEVEL_4)
    with pytest.raises(RequestError, match="not known here"):
        control.write_values(METER, "EEEEEEEE", [1], LEVEL_4)
    with pytest.raises(RequestError, match="its format is hhmmss"):
        control.write_values(METER, "04000102", ["25:00:00"], LEVEL_4)
    with pytest.raises(RequestError, match="password of 3 and an operator code of 4"):
        Authority(b"\x04\x00\x00")
    with pytest.raises(RequestError, match="needs its hour"):
        control.schedule_freeze(METER, 0, day=1)
    with pytest.raises(RequestError, match="day 29 is none; write 1 to 28"):
        control.schedule_freeze(METER, 0, 0, 29)


def test_a_password_is_not_printed() -> None:
    assert "1234" not in repr(Authority(b"1234", b"\x00\x00\x00\x01"))


@pytest.mark.parametrize(
    ("now", "offset_s", "last_set", "may"),
    [
        (NOON, 0, None, True),
        (NOON, 300, None, True),
        (NOON, -300, None, True),
        (NOON, 301, None, False),
        (NOON, -301, None, False),
        (NOON, 60, date(2026, 11, 20), True),
        (NOON, 60, date(2026, 11, 21), False),
        (datetime(2026, 11, 21, 23, 50, tzinfo=CHINA), 60, None, True),
        (datetime(2026, 11, 21, 23, 50, 1, tzinfo=CHINA), 60, None, False),
        (datetime(2026, 11, 21, 0, 9, 59, tzinfo=CHINA), 60, None, False),
        (datetime(2026, 11, 21, 0, 10, tzinfo=CHINA), 60, None, True),
    ],
)
def test_the_time_is_broadcast_by_the_rules(
    now: datetime, offset_s: float, last_set: date | None, may: bool
) -> None:
    assert control.may_broadcast_time(now, offset_s, last_set) is may


@given(
    address=st.text("0123456789", min_size=12, max_size=12).filter(lambda a: a != "9" * 12),
    content=st.binary(min_size=1, max_size=188),
    password=st.binary(min_size=4, max_size=4),
)
def test_a_write_is_heard_as_it_was_meant(address: str, content: bytes, password: bytes) -> None:
    request = control.write(address, "04010001", content, Authority(password))

    frame, _ = dlt645.find_frame(encode(request))

    assert frame is not None
    assert frame.data == bytes.fromhex("01000104") + password + bytes(4) + content
