"""The DL/T 645 codec: which frame answers which request, and laws over all bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import dlt645
from protocols.base import Codec, RefusedError, Reply, RequestError, Stray
from protocols.dlt645 import Frame, Request, decode, encode, encode_frame, follow_up, read

CODEC: Codec[Request] = dlt645
METER = "000012345678"
ENERGY = read(METER, "00010000")
DI = ENERGY.data
ANSWER = encode_frame(Frame(METER, 0x91, DI + b"\x86\x01\x00\x00"), preamble=4)
GOOD = Reply(METER, b"\x86\x01\x00\x00")

addresses = st.text("0123456789", min_size=12, max_size=12)
frames = st.builds(
    Frame, address=addresses, control=st.integers(0, 255), data=st.binary(max_size=200)
)
replies = st.builds(
    lambda data: Frame(METER, 0x91, DI + data), data=st.binary(min_size=1, max_size=196)
)
noise = st.binary(max_size=40)
lines = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.just(b"\x68"),
        frames.map(encode_frame),
        replies.map(encode_frame),
        st.just(ANSWER),
        st.just(encode(ENERGY)),
    ),
    max_size=6,
).map(b"".join)


def listen(buffer: bytes, request: Request) -> tuple[Reply | None, list[Stray]]:
    """What a line does: strays are counted and dropped until there is a reply, or no more."""
    strays: list[Stray] = []
    while True:
        found, used = decode(buffer, request)
        if not isinstance(found, Stray):
            return found, strays
        strays.append(found)
        buffer = buffer[used:]


@pytest.mark.parametrize(
    ("frame", "stray"),
    [
        (Frame(METER, 0x11, DI), Stray.ECHO),
        (Frame(METER, 0x11, b"\x00\x01\x01\x02"), Stray.FOREIGN),
        (Frame("000012345679", 0x91, DI + b"\x01\x00\x00\x00"), Stray.FOREIGN),
        (Frame(METER, 0x91, b"\x00\x00\x02\x00\x01\x00\x00\x00"), Stray.LATE),
        (Frame(METER, 0x94), Stray.LATE),
        (Frame(METER, 0x92, DI + b"\x01\x00\x00\x00\x01"), Stray.LATE),
        (Frame(METER, 0x81, DI), Stray.LATE),
        (Frame(METER, 0xD4, b"\x04"), Stray.LATE),
        (Frame(METER, 0x91), Stray.LATE),
    ],
    ids=str,
)
def test_what_does_not_answer_is_a_stray_and_listened_past(frame: Frame, stray: Stray) -> None:
    raw = encode_frame(frame)

    assert decode(raw, ENERGY) == (stray, len(raw))
    assert listen(raw + ANSWER, ENERGY) == (GOOD, [stray])


def test_a_damaged_frame_gives_up_one_byte_only() -> None:
    damaged = bytearray(ANSWER)
    damaged[-2] ^= 1

    assert decode(bytes(damaged), ENERGY) == (Stray.GARBLED, 5)
    assert listen(bytes(damaged) + ANSWER, ENERGY) == (GOOD, [Stray.GARBLED])


@pytest.mark.parametrize(
    ("at", "kind"),
    [(5, Stray.DAMAGED), (12, Stray.DAMAGED), (14, Stray.DAMAGED), (18, Stray.GARBLED)],
)
def test_an_answer_with_a_good_head_and_damaged_data_is_told_apart(at: int, kind: Stray) -> None:
    damaged = bytearray(ANSWER)
    damaged[at] ^= 1

    assert decode(bytes(damaged), ENERGY)[0] is kind


@pytest.mark.parametrize(
    "front",
    ["68", "68 00 00 68", "68 01 02 03 04 05 06 68 91 F0", "3A 89 54 33 68 16", "68 68 68 68"],
)
def test_the_beginning_of_a_frame_hides_no_answer_behind_it(front: str) -> None:
    buffer = bytes.fromhex(front) + ANSWER

    reply, _ = listen(buffer, ENERGY)

    assert reply == GOOD


def test_a_frame_still_arriving_is_kept() -> None:
    assert decode(b"\x00\xfe" + ANSWER[4:20], ENERGY) == (None, 2)


def test_a_wildcard_address_learns_who_answered() -> None:
    request = read("AAAAAAAA5678", "00010000")

    assert decode(ANSWER, request) == (GOOD, len(ANSWER))
    other = encode_frame(Frame("000012345679", 0x91, DI + b"\x00\x00\x00\x00"))
    assert decode(other, request)[0] is Stray.FOREIGN


def test_a_meter_that_keeps_the_wildcards_is_believed() -> None:
    kept = encode_frame(Frame("AAAAAAAAAAAA", 0x91, DI + b"\x00\x00\x00\x00"))

    assert decode(kept, read("AAAAAAAAAAAA", "00010000"))[0] == Reply("AAAAAAAAAAAA", bytes(4))
    assert decode(kept, ENERGY)[0] is Stray.FOREIGN


def test_read_address_takes_the_address_from_the_data() -> None:
    data = bytes.fromhex(METER)
    for header in (METER, "AAAAAAAAAAAA"):
        raw = encode_frame(Frame(header, 0x93, data[::-1]))
        assert decode(raw, dlt645.read_address()) == (Reply(METER, data), len(raw))
    twisted = encode_frame(Frame("000012345679", 0x93, data[::-1]))
    assert decode(twisted, dlt645.read_address())[0] is Stray.LATE


def test_a_long_answer_is_fetched_frame_by_frame() -> None:
    request = read(METER, "03300501")
    di = request.data
    first, _ = decode(encode_frame(Frame(METER, 0xB1, di + b"one")), request)
    assert first == Reply(METER, b"one", more=True)

    second = follow_up(request, Reply(METER, b"one", more=True))
    assert second == Request(METER, 0x12, di + b"\x01")
    wrong = encode_frame(Frame(METER, 0xB2, di + b"two\x02"))
    right = encode_frame(Frame(METER, 0xB2, di + b"two\x01"))
    assert listen(wrong + right, second) == (Reply(METER, b"two", more=True), [Stray.LATE])

    third = follow_up(second, Reply(METER, b"two", more=True))
    assert third == Request(METER, 0x12, di + b"\x02")
    last, _ = decode(encode_frame(Frame(METER, 0x92, di + b"end\x02")), third)
    assert last == Reply(METER, b"end")
    assert follow_up(third, Reply(METER, b"end")) is None


def test_after_255_parts_nothing_follows() -> None:
    last = Request(METER, 0x12, DI + b"\xff")

    assert follow_up(last, Reply(METER, b"", more=True)) is None


@pytest.mark.parametrize(
    ("error", "permanent", "says"),
    [
        (b"\x02", True, "no such data (error 02H); take it out of the profile"),
        (b"\x06", True, "no such data and password wrong or not authorised (error 06H)"),
        (b"\x01", False, "other error (error 01H); try again"),
        (b"", False, "no reason given (error 00H); try again"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(error: bytes, permanent: bool, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decode(encode_frame(Frame(METER, 0xD1, error)), ENERGY)

    assert str(caught.value).startswith(f"meter {METER} refused to read 00010000: {says}")
    assert caught.value.permanent is permanent


def test_a_security_refusal_has_its_own_words() -> None:
    top_up = Request(METER, 0x03, bytes.fromhex("FF020107"))

    with pytest.raises(RefusedError, match="repeated top-up and top-up count wrong"):
        decode(encode_frame(Frame(METER, 0xC3, b"\x22\x00")), top_up)


@pytest.mark.parametrize(
    ("address", "di", "says"),
    [
        ("12345678", "00010000", "'12345678' is not 12 digits; pad it with 0"),
        ("0000123456AB", "00010000", "only leading pairs may be AA"),
        ("0000AA345678", "00010000", "only leading pairs may be AA"),
        ("٠٠٠٠١٢٣٤٥٦٧٨", "00010000", "is not 12 digits"),
        (METER, "0001000", "'0001000' is not 8 hex digits"),
        (METER, "0001000G", "is not 8 hex digits"),
    ],
)
def test_a_malformed_read_is_refused_at_birth(address: str, di: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        read(address, di)


@pytest.mark.parametrize(
    ("control", "data", "says"),
    [
        (0x91, b"", "91H is no request"),
        (0x11, b"\x00", "11H needs 4 bytes"),
        (0x12, bytes(4), "12H needs 5 bytes"),
        (0x14, bytes(201), "201 bytes of data for meter 000012345678; at most 200"),
    ],
)
def test_a_request_that_fits_no_frame_is_refused_at_birth(
    control: int, data: bytes, says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        Request(METER, control, data)


@pytest.mark.parametrize(
    "frame", [Frame("12", 0x11), Frame(METER, 256), Frame(METER, 0x91, bytes(241))], ids=str
)
def test_no_frame_is_made_of_what_does_not_fit(frame: Frame) -> None:
    with pytest.raises(RequestError, match=r"not 12 digits|fits no frame"):
        encode_frame(frame)


def test_a_device_with_letters_in_its_address_is_asked_on_purpose() -> None:
    request = Request("5A584B375353", 0x11, DI)
    raw = encode_frame(Frame("5A584B375353", 0x91, DI + bytes(4)))

    assert decode(raw, request)[0] == Reply("5A584B375353", bytes(4))


def test_a_reply_is_as_long_as_what_was_asked() -> None:
    longest = 4 + 12 + 240
    assert dlt645.reply_size(ENERGY) == 4 + 12 + 4 + 4 + 4
    assert dlt645.reply_size(read(METER, "0001FF00")) == longest
    assert dlt645.reply_size(read(METER, "03300501")) == longest
    assert dlt645.reply_size(read(METER, "EEEEEEEE")) == longest
    assert dlt645.reply_size(dlt645.read_address()) == 4 + 12 + 6
    assert dlt645.reply_size(Request(METER, 0x1C, bytes(16))) == 4 + 12 + 4


def test_frames_of_240_bytes_are_tolerated_and_no_more() -> None:
    long = encode_frame(Frame(METER, 0x91, DI + bytes(236)))
    assert decode(long, ENERGY) == (Reply(METER, bytes(236)), len(long))

    too_long = bytearray(long)
    too_long[9] = 241
    assert decode(bytes(too_long), ENERGY) == (None, len(long))


@given(frame=frames, wake_up=st.integers(0, 7))
def test_find_undoes_encode(frame: Frame, wake_up: int) -> None:
    sent = encode_frame(frame, wake_up)

    assert dlt645.find_frame(sent) == (frame, len(sent))


@given(lines)
def test_no_bytes_raise_anything_but_a_refusal(heard: bytes) -> None:
    _, used = dlt645.find_frame(heard)
    assert 0 <= used <= len(heard)
    for request in (ENERGY, dlt645.read_address(), Request(METER, 0x12, DI + b"\x01")):
        with contextlib.suppress(RefusedError):
            found, used = decode(heard, request)
            assert (0 if found is None else 1) <= used <= len(heard)


@given(frame=replies, position=st.integers(0), flip=st.integers(1, 255))
def test_a_changed_byte_never_passes_for_the_truth(frame: Frame, position: int, flip: int) -> None:
    sent = bytearray(encode_frame(frame))
    sent[position % len(sent)] ^= flip

    reply, _ = listen(bytes(sent), ENERGY)

    assert reply != Reply(METER, frame.data[4:])
    assert dlt645.find_frame(bytes(sent))[0] != frame


@given(before=noise, frame=replies, behind=noise)
def test_noise_around_an_answer_does_not_hide_it(
    before: bytes, frame: Frame, behind: bytes
) -> None:
    with contextlib.suppress(RefusedError):
        reply, _ = listen(before + encode_frame(frame) + behind, ENERGY)
        assert reply == Reply(METER, frame.data[4:])


@given(heard=lines, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_how_the_bytes_arrive_does_not_matter(heard: bytes, cuts: list[int]) -> None:
    heard += ANSWER

    def arrive(pieces: list[bytes]) -> Reply | str | None:
        buffer = b""
        try:
            for piece in pieces:
                buffer += piece
                found: Reply | Stray | None = Stray.LATE
                while isinstance(found, Stray):
                    found, used = decode(buffer, ENERGY)
                    if isinstance(found, Reply):
                        return found
                    buffer = buffer[used:]
        except RefusedError as error:
            return str(error)
        return None

    ends = sorted({min(cut, len(heard)) for cut in cuts} | {len(heard)})
    pieces = [heard[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    whole = arrive([heard])

    assert whole is not None
    assert arrive(pieces) == whole
