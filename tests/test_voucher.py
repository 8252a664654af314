from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.voucher import (
    Key,
    Voucher,
    VoucherError,
    Why,
    _read,
    accept,
    issue,
    parse,
    qr_text,
    to_text,
)
from gateway.prepayment.voucher_window import Window
from tests.accounts import YUAN

SEED = bytes(range(32))
PUBLIC = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
KEYS = {1: Key(id=1, public=PUBLIC), 2: Key(id=2, public=PUBLIC, retired=True)}
VOUCHER = Voucher(
    key=1, account="3301000042", number=17, amount_fen=10_050, last_year=2027, payment="P-2026-0001"
)
TEXT = issue(VOUCHER, SEED)

names = st.from_regex(r"[A-Za-z0-9-]{1,32}", fullmatch=True)
vouchers = st.builds(
    Voucher,
    key=st.integers(1, 255),
    account=names,
    number=st.integers(1, 2**32 - 1),
    amount_fen=st.integers(1, 2**32 - 1),
    last_year=st.integers(2000, 2255),
    payment=names,
    signature=st.binary(min_size=64, max_size=64),
)


def accepted(
    text: str = TEXT,
    account: str = VOUCHER.account,
    window: Callable[[int], Window] = lambda _: Window(),
    year: int | None = 2026,
) -> tuple[Voucher, Window]:
    return accept(text, account, KEYS, window, year=year)


def refused(text: str = TEXT, **more: object) -> VoucherError:
    with pytest.raises(VoucherError) as caught:
        accepted(text, **more)  # type: ignore[arg-type]
    return caught.value


def test_a_voucher_is_a_top_up_and_a_number_used() -> None:
    voucher, window = accepted()

    top_up = voucher.top_up(at=7.0)
    assert (top_up.payment, top_up.account, top_up.amount_e4, top_up.paid) == (
        "P-2026-0001",
        "3301000042",
        1_005_000,
        7.0,
    )
    assert top_up.amount_e4 == 100 * YUAN + 5_000
    assert window == Window(0, 1 << 16)


def test_the_text_is_what_it_was() -> None:
    """Those in customers' hands must stay good."""
    assert (
        TEXT == "040HP00W-0008G00T-17885364-CSG64R32-0C1G6GSB-0PM1D68J-R34DHD6N-0R30CB5F-8M5BYRYA"
        "-S2ZB9B3B-J82C5J7N-1C3SDEN6-08KWQWKJ-SR6D7MB4-XSX3EM70-M2X7WZ3G-68X7A4TC-3Y4D443P-K2DYWBN4"
        "-V24EHJ6S-4VFHKDEQ-ZH49SPW2-604F"
    )


@given(vouchers)
def test_what_is_written_is_read(voucher: Voucher) -> None:
    assert parse(to_text(voucher)) == voucher


def test_how_it_is_typed_does_not_matter() -> None:
    sloppy = TEXT.lower().replace("-", " ").replace("0", "o").replace("1", "l")

    assert parse(f" {sloppy}\n") == parse(TEXT.replace("-", "")) == parse(TEXT)


@given(st.integers(0, len(TEXT) - 1), st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_one_wrong_letter_is_found_in_its_group(place: int, letter: str) -> None:
    wrong = TEXT[:place] + letter + TEXT[place + 1 :]
    if wrong == TEXT or TEXT[place] == "-":
        return

    error = refused(wrong)

    assert error.why is Why.MISTYPED
    assert error.groups == (TEXT[:place].count("-") + 1,)


@given(st.integers(0, len(TEXT) - 2), st.data())
def test_two_swapped_letters_are_found_in_their_group(first: int, data: st.DataObject) -> None:
    group = first - first % 9
    second = data.draw(st.integers(group, min(group + 7, len(TEXT) - 1)))
    letters = list(TEXT)
    letters[first], letters[second] = letters[second], letters[first]
    if TEXT[first] == TEXT[second] or "-" in (TEXT[first], TEXT[second]):
        return

    assert refused("".join(letters)).groups == (group // 9 + 1,)


@given(st.permutations(range(23)))
def test_groups_in_another_order_are_found(order: list[int]) -> None:
    groups = TEXT.split("-")
    mixed = "-".join(groups[n] for n in order)
    if mixed == TEXT:
        return

    error = refused(mixed)

    assert error.why is Why.MISTYPED
    assert set(error.groups) == {place + 1 for place, n in enumerate(order) if place != n}


@pytest.mark.parametrize("change", [lambda group: group[1:], lambda group: group + "7"])
def test_a_letter_too_few_or_too_many_spoils_one_group(change: Callable[[str], str]) -> None:
    groups = TEXT.split("-")
    groups[4] = change(groups[4])

    error = refused("-".join(groups))

    assert error.groups == (5,)
    assert str(error) == "check group 5 of 23 (8 letters each)"


@given(st.text())
def test_any_text_is_refused_by_name(text: str) -> None:
    assert refused(text).why is Why.MISTYPED


@given(st.binary(max_size=160))
def test_any_bytes_are_a_voucher_or_none(data: bytes) -> None:
    read = _read(bytes([1]) + data)

    assert read is None or len(read.signature) == 64


@given(st.integers(0, 8 * 64 - 1))
def test_any_flipped_bit_breaks_the_signature(bit: int) -> None:
    voucher = parse(TEXT)
    fields: dict[str, Any] = {
        "amount_fen": voucher.amount_fen ^ 1 << bit % 30,
        "number": voucher.number ^ 1 << bit % 30,
        "last_year": 2000 + (voucher.last_year - 2000 ^ 1 << bit % 8),
        "signature": bytes(
            one ^ (1 << bit % 8 if n == bit % 64 else 0) for n, one in enumerate(voucher.signature)
        ),
    }
    name = list(fields)[bit % 4]

    error = refused(to_text(replace(voucher, **{name: fields[name]})))

    assert error.why in (Why.WRONG_SIGNATURE, Why.MISTYPED)  # an amount of 0 is no voucher


@pytest.mark.parametrize(
    ("voucher", "more", "why", "told"),
    [
        (VOUCHER, {"account": "3301000043"}, Why.OTHER_ACCOUNT, "for account 3301000042, not for"),
        (replace(VOUCHER, key=9), {}, Why.UNKNOWN_KEY, "key 9, which this gateway does not know"),
        (replace(VOUCHER, key=2), {}, Why.RETIRED_KEY, "key 2 is retired"),
        (replace(VOUCHER, last_year=2025), {}, Why.EXPIRED, "until the end of 2025"),
        (VOUCHER, {"window": lambda _: Window(0, 1 << 16)}, Why.USED, "17 of account 33.* is used"),
        (VOUCHER, {"window": lambda _: Window(17)}, Why.TOO_OLD, "18 to 81 can be used"),
        (replace(VOUCHER, number=65), {}, Why.TOO_FAR, "too far ahead: 1 to 64 can be used"),
    ],
)
def test_each_refusal_has_its_name(
    voucher: Voucher, more: dict[str, object], why: Why, told: str
) -> None:
    error = refused(issue(voucher, SEED), **more)

    assert error.why is why
    assert error.bad_try is (why in (Why.OTHER_ACCOUNT, Why.UNKNOWN_KEY))
    with pytest.raises(VoucherError, match=told):
        raise error


def test_without_a_trusted_clock_the_year_does_not_count() -> None:
    voucher, _ = accepted(issue(replace(VOUCHER, last_year=2001), SEED), year=None)

    assert voucher.last_year == 2001


def test_another_keys_signature_is_wrong() -> None:
    assert refused(issue(VOUCHER, bytes(32))).why is Why.WRONG_SIGNATURE


@pytest.mark.parametrize(
    "wrong",
    [{"amount_fen": 0}, {"key": 256}, {"number": 0}, {"account": ""}, {"payment": "付款"}],
)
def test_what_a_voucher_cannot_say_is_not_issued(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"within|letters"):
        issue(replace(VOUCHER, **wrong), SEED)  # type: ignore[arg-type]


def test_it_fits_a_qr_code_that_a_terminal_can_show() -> None:
    lines = qr_text(TEXT).splitlines()

    assert len({len(line) for line in lines if line}) == 1
    assert len(lines[0]) < 80
