"""Offline vouchers as a head-end prints them, made from the description alone.

    version, key id, last year from 2000 on, number (4 bytes), fen (4 bytes),
    account and payment id, each after its length; then the Ed25519 signature over
    "taiqu/v1/voucher", a line feed and all that

as base32 without I, L, O and U, in groups of seven letters and a check letter: the remainder of a
polynomial over GF(32), x^5 = x^2 + 1, whose first coefficient is the group's place.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
GROUP = 7


def print_voucher(
    seed: bytes, key: int, account: str, number: int, fen: int, year: int, payment: str
) -> str:
    """The voucher as it is handed to the customer; ``seed`` is the private key."""
    body = bytes([1, key, year - 2000]) + number.to_bytes(4) + fen.to_bytes(4)
    for text in (account, payment):
        body += bytes([len(text)]) + text.encode("ascii")
    signed = Ed25519PrivateKey.from_private_bytes(seed).sign(b"taiqu/v1/voucher\n" + body)
    return _as_text(body + signed)


def _as_text(data: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[n : n + 5], 2) for n in range(0, len(bits), 5)]
    groups = [values[n : n + GROUP] for n in range(0, len(values), GROUP)]
    written = ([*group, _check(n + 1, group)] for n, group in enumerate(groups))
    return "-".join("".join(LETTERS[value] for value in group) for group in written)


def _check(place: int, group: list[int]) -> int:
    check = place & 31
    for value in [*group, 0]:
        check <<= 1
        if check & 32:
            check ^= 0b100101
        check ^= value
    return check
