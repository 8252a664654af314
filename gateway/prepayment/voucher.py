"""Offline vouchers (离线充值码): a signed top-up as text, typed in or scanned, needing no network.

The signed bytes, numbers with the highest byte first:

    1      version, 1
    1      key id, 1 to 255
    1      last year it is good in, counted from 2000
    4      number of the voucher, counted per account from 1
    4      amount in fen
    1 + n  account number, ASCII, after its length
    1 + n  payment id, ASCII, after its length
    64     Ed25519 signature (RFC 8032) over the line "taiqu/v1/voucher" and all bytes before it

As text they are base32 (Crockford's alphabet: no I, L, O, U) in groups of seven letters and a
check letter, which counts the group's place too: a wrong letter, two swapped ones, a missing or
misplaced group is told with its place, before anybody waits for a signature.

A voucher is judged by its number and key (voucher_window.py), never by the time it comes; the year
is a coarse end, and is ignored while the clock is not trusted.

Not supported: 20 digits for typing (they need a secret shared with the gateway); a gateway that was
replaced: until the head-end has restored its used numbers, vouchers must be held back.
"""

import io
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.prepayment.money import FEN_E4
from gateway.prepayment.top_up import TopUp
from gateway.prepayment.voucher_window import SIZE, Window

VERSION = 1
CHANNEL = "voucher"
DOMAIN = b"taiqu/v1/voucher\n"
SIGNATURE_BYTES = 64
_FIXED = struct.Struct(">BBBII")
_GROUP = 8
"""Letters of a group, the check letter included."""
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: n for n, letter in enumerate(_LETTERS)} | {"O": 0, "I": 1, "L": 1}
_TEXT = re.compile(r"[A-Za-z0-9-]+")


class Why(StrEnum):
    """Why a voucher was refused."""

    MISTYPED = "mistyped"
    UNKNOWN_KEY = "unknown_key"
    RETIRED_KEY = "retired_key"
    WRONG_SIGNATURE = "wrong_signature"
    OTHER_ACCOUNT = "other_account"
    EXPIRED = "expired"
    USED = "used"
    TOO_OLD = "too_old"
    TOO_FAR = "too_far_ahead"


_WINDOW = {"used": Why.USED, "too old": Why.TOO_OLD, "too far ahead": Why.TOO_FAR}
_GENUINE = (Why.EXPIRED, Why.USED, Why.TOO_OLD, Why.TOO_FAR, Why.RETIRED_KEY)


class VoucherError(Exception):
    """A voucher is refused.  The message says why and what to do."""

    def __init__(self, why: Why, reason: str, groups: tuple[int, ...] = ()) -> None:
        super().__init__(reason)
        self.why = why
        self.groups = groups
        """Which groups of the text are wrong, counted from 1."""

    @property
    def bad_try(self) -> bool:
        """Whether it counts as one: it may have been a guess."""
        return self.why not in _GENUINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key that vouchers are signed with."""

    id: int
    public: bytes
    retired: bool = False
    """All its vouchers are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """What a voucher says."""

    key: int
    account: str
    number: int
    amount_fen: int
    last_year: int
    payment: str
    """Payment id: a payment that came online too counts once."""
    signature: bytes = b""

    def top_up(self, at: float) -> TopUp:
        """The top-up it stands for; ``at`` is when it was handed in, Unix time."""
        return TopUp(
            payment=self.payment,
            account=self.account,
            amount_e4=self.amount_fen * FEN_E4,
            channel=CHANNEL,
            paid=at,
        )


def accept(
    text: str,
    account: str,
    keys: Mapping[int, Key],
    window: Callable[[int], Window],
    *,
    year: int | None,
) -> tuple[Voucher, Window]:
    """The voucher in ``text`` for ``account``, and the window once it is used.

    ``window`` gives the account's window under a key; ``year`` is the local one, None while the
    clock is not trusted.  The window is stored with the money, or not at all.

    Raises VoucherError.
    """
    voucher = parse(text)
    verify(voucher, keys)
    if voucher.account != account:
        reason = f"this voucher is for account {voucher.account}, not for {account}"
        raise VoucherError(Why.OTHER_ACCOUNT, reason)
    if year is not None and year > voucher.last_year:
        reason = f"it was good until the end of {voucher.last_year}; ask for a new one"
        raise VoucherError(Why.EXPIRED, reason)
    used = window(voucher.key)
    if problem := used.problem(voucher.number):
        reason = f"voucher {voucher.number} of account {account} is {problem}"
        if problem != "used":
            reason += f": {used.floor + 1} to {used.highest + SIZE} can be used; ask for a new one"
        raise VoucherError(_WINDOW[problem], reason)
    return voucher, used.use(voucher.number)


def verify(voucher: Voucher, keys: Mapping[int, Key]) -> None:
    """Raise VoucherError unless its signature holds under a key that is known and in use."""
    # Imported here: it takes some 8 MB, and most days nobody brings a voucher.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    key = keys.get(voucher.key)
    if key is None:
        reason = f"signed with key {voucher.key}, which this gateway does not know"
        raise VoucherError(Why.UNKNOWN_KEY, reason)
    try:
        public = Ed25519PublicKey.from_public_bytes(key.public)
        public.verify(voucher.signature, DOMAIN + _body(voucher))
    except InvalidSignature as error:
        reason = "its signature is wrong; type it again, or ask who issued it"
        raise VoucherError(Why.WRONG_SIGNATURE, reason) from error
    if key.retired:
        reason = f"key {voucher.key} is retired and its vouchers with it; ask for a new one"
        raise VoucherError(Why.RETIRED_KEY, reason)


def issue(voucher: Voucher, private: bytes) -> str:
    """The text of a voucher, signed with the 32 private bytes: for who sells them.

    Raises ValueError for what a voucher cannot say.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    if problem := _problem(voucher):
        raise ValueError(problem)
    signature = Ed25519PrivateKey.from_private_bytes(private).sign(DOMAIN + _body(voucher))
    return to_text(replace(voucher, signature=signature))


def to_text(voucher: Voucher) -> str:
    """The signed voucher as groups of letters."""
    data = _body(voucher) + voucher.signature
    bits = int.from_bytes(data)
    count = -(-len(data) * 8 // 5)
    bits <<= count * 5 - len(data) * 8
    values = [bits >> 5 * n & 31 for n in reversed(range(count))]
    groups = [values[n : n + _GROUP - 1] for n in range(0, count, _GROUP - 1)]
    return "-".join(
        "".join(_LETTERS[value] for value in (*group, _check(n, group)))
        for n, group in enumerate(groups)
    )


def parse(text: str) -> Voucher:
    """What a voucher's text says.  Blanks, hyphens, case, O for 0, I and L for 1 do not matter.

    Nothing is verified yet.  Raises VoucherError, with the groups that are mistyped.
    """
    written = re.split(r"[\s-]+", text.strip(" \t\r\n-").upper())
    letters = "".join(written)
    groups = [letters[n : n + _GROUP] for n in range(0, len(letters), _GROUP)]
    if wrong := _wrong(groups):
        # With its hyphens a letter too many or too few spoils one group, not all that follow.
        if 2 * sum(len(group) == _GROUP for group in written) > len(written):
            wrong = _wrong(written)
        shown = ", ".join(map(str, wrong[:10]))
        reason = f"check group {shown} of {len(groups)} (8 letters each)"
        raise VoucherError(Why.MISTYPED, reason, tuple(wrong))
    bits = 0
    for letter in (letter for group in groups for letter in group[:-1]):
        bits = bits << 5 | _VALUES[letter]
    size, spare = divmod(5 * (len(letters) - len(groups)), 8)
    voucher = _read((bits >> spare).to_bytes(size))
    if voucher is None or _problem(voucher):
        reason = "this is no voucher, or not the whole of one; compare the number of groups"
        raise VoucherError(Why.MISTYPED, reason)
    return voucher


def qr_text(text: str) -> str:
    """The text as a QR code of block characters, for a terminal with a dark background."""
    import segno  # noqa: PLC0415 - the command line alone needs it

    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()


def _body(voucher: Voucher) -> bytes:
    """All bytes but the signature."""
    texts = [voucher.account.encode("ascii"), voucher.payment.encode("ascii")]
    fixed = _FIXED.pack(
        VERSION, voucher.key, voucher.last_year - 2000, voucher.number, voucher.amount_fen
    )
    return fixed + b"".join(bytes([len(one)]) + one for one in texts)


def _read(data: bytes) -> Voucher | None:
    """The voucher in these bytes; None if they are not exactly one."""
    body, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    if len(body) < _FIXED.size or body[0] != VERSION:
        return None
    _, key, years, number, amount_fen = _FIXED.unpack_from(body)
    rest, texts = body[_FIXED.size :], []
    while rest:
        texts.append(rest[1 : 1 + rest[0]])
        if len(texts[-1]) != rest[0] or not texts[-1].isascii():
            return None
        rest = rest[1 + rest[0] :]
    if len(texts) != 2:
        return None
    return Voucher(
        key=key,
        account=texts[0].decode("ascii"),
        number=number,
        amount_fen=amount_fen,
        last_year=2000 + years,
        payment=texts[1].decode("ascii"),
        signature=signature,
    )


def _problem(voucher: Voucher) -> str:
    """Why a voucher cannot be; empty if it can."""
    for what, value, least, most in (
        ("key", voucher.key, 1, 255),
        ("number", voucher.number, 1, 2**32 - 1),
        ("amount_fen", voucher.amount_fen, 1, 2**32 - 1),
        ("last_year", voucher.last_year, 2000, 2255),
        ("length of the account number", len(voucher.account), 1, 32),
        ("length of the payment id", len(voucher.payment), 1, 64),
    ):
        if not least <= value <= most:
            return f"{what}: {value} is not within {least} and {most}"
    if not _TEXT.fullmatch(voucher.account) or not _TEXT.fullmatch(voucher.payment):
        return "account and payment are letters, digits and hyphens"
    return ""


def _wrong(groups: list[str]) -> list[int]:
    """Which groups cannot be right, counted from 1."""
    wrong = []
    for n, group in enumerate(groups):
        last = n == len(groups) - 1
        size_fits = len(group) == _GROUP or (last and 2 <= len(group) < _GROUP)
        if not size_fits or any(letter not in _VALUES for letter in group):
            wrong.append(n + 1)
            continue
        *values, check = [_VALUES[letter] for letter in group]
        if check != _check(n, values):
            wrong.append(n + 1)
    return wrong


def _check(place: int, values: list[int]) -> int:
    """The check letter's value: any one wrong letter and any two swapped ones change it.

    A polynomial over GF(32), with the group's place as its first coefficient.
    """
    check = (place + 1) & 31
    for value in values:
        check = _times_x(check) ^ value
    return _times_x(check)


def _times_x(value: int) -> int:
    """Times x in GF(32) with x^5 = x^2 + 1."""
    return value << 1 if value < 16 else (value << 1 ^ 0b100101)
