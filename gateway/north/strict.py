"""JSON from strangers: bytes in, one canonical form out, or a ContractError with a short reason.

Python's parser lets through what two readers may understand differently (a key given twice, NaN,
half a surrogate pair) and what costs without end (depth, a number of a million digits).  Here each
is refused before a model sees it.

Not supported: numbers with a fraction or an exponent.  No message has one; amounts are text.
"""

import json
import re
from typing import NoReturn

PAYLOAD_MAX_BYTES = 65_536
"""The largest message from the head-end we look into."""
DEPTH_MAX = 16
DIGITS_MAX = 16
"""Enough for 2**53 - 1, the largest integer that every JSON reader keeps exactly."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class ContractError(Exception):
    """A message is not what the contract says.

    ``id`` is the command's, where that much could be read, so that its issuer can be told.
    """

    def __init__(self, reason: str, id: str | None = None) -> None:  # noqa: A002 - the field's name
        super().__init__(reason)
        self.id = id


def canonical(payload: bytes) -> bytes:
    """The JSON object in ``payload`` with sorted keys, no spaces and plain UTF-8.

    Equal content gives equal bytes, whatever its sender's key order and escapes.

    Raises ContractError, and nothing else, if it is not one strict JSON object.
    """
    if len(payload) > PAYLOAD_MAX_BYTES:
        raise ContractError(f"{len(payload)} bytes; send at most {PAYLOAD_MAX_BYTES}")
    _check_depth(payload)
    try:
        tree = json.loads(
            payload.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_fraction,
            parse_constant=_refuse_constant,
        )
        if not isinstance(tree, dict):
            raise ContractError("not a JSON object; send {...}")
        return _form(tree)
    except UnicodeDecodeError as error:
        raise ContractError(f"not UTF-8 at byte {error.start}") from error
    except UnicodeEncodeError as error:
        raise ContractError("a text holds half a surrogate pair") from error
    except json.JSONDecodeError as error:
        raise ContractError(f"not JSON: {error.msg} at character {error.pos}") from error


def without(whole: bytes, key: str) -> bytes:
    """``whole``, which is canonical, without one of its keys; canonical again."""
    tree = json.loads(whole)
    tree.pop(key, None)
    return _form(tree)


def _form(tree: dict[str, object]) -> bytes:
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def _check_depth(payload: bytes) -> None:
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", payload)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            raise ContractError(f"nested deeper than {DEPTH_MAX}")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ContractError(f"the key {ascii(twice)[:40]} stands there twice")
    return tree


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS_MAX:
        raise ContractError(f"an integer of more than {DIGITS_MAX} digits")
    return int(digits)


def _refuse_fraction(digits: str) -> NoReturn:
    raise ContractError(f"{digits[:20]}: numbers are whole here; write exact decimals as text")


def _refuse_constant(name: str) -> NoReturn:
    raise ContractError(f"{name} is not JSON")
