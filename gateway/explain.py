"""What is wrong with a file or a message, for the person who wrote it: place, found, what to write.

A field's description completes the sentence "write ...".
"""

import difflib
from collections.abc import Sequence

from pydantic import BaseModel
from pydantic_core import ErrorDetails

SHOWN_MAX = 120
"""Characters of a wrong value that a message repeats."""


def shown(found: object) -> str:
    """What was found, in a line."""
    try:
        text = repr(found)
    except (RecursionError, ValueError):
        return f"a {type(found).__name__} too large to show"
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def did_you_mean(found: str, known: Sequence[str]) -> str:
    """The known word that ``found`` was probably meant to be, or the known words."""
    close = difflib.get_close_matches(found, known, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(sorted(known)[:12]) or "none")


def explain(model: type[BaseModel], detail: ErrorDetails, where: str) -> tuple[str, str]:
    """One validation error as (place, what was found and what to write)."""
    keys = [key for key in detail["loc"] if key in model.model_fields or isinstance(key, int)]
    place = where + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        if keys:
            return place, f"unknown key {key!r}; write {_description(model, str(keys[0]))}"
        return f"{where}.{key}", f"unknown key; {did_you_mean(key, tuple(model.model_fields))}"
    if not keys:
        return (
            where,
            f"found {shown(detail['input'])}; write a table with {', '.join(model.model_fields)}",
        )
    write = _description(model, str(keys[0]))
    if detail["type"] == "missing":
        return place, f"missing; write {write}"
    return place, f"found {shown(detail['input'])}; write {write}"


def _description(model: type[BaseModel], key: str) -> str:
    info = model.model_fields[key]
    return info.description or next(
        (part.description for part in info.metadata if getattr(part, "description", None)), key
    )
