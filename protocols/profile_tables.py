"""The TOML form of a meter profile: its tables and keys, and what is said about a wrong one.

Only the form: keys, types, ranges.  What the values mean together is checked in
protocols/profile.py.  All problems are collected, each with its table, its key, the value found and
the way out.
"""

import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, DecimalException
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

VALUE_TYPES = Literal[
    "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "bcd64"
]
ORDER = Literal["big", "little"]
FUNCTION = Literal[3, 4]
REGISTER = Annotated[int, Field(ge=0, le=0xFFFF)]


def _forwards(span: list[int]) -> list[int]:
    if span[0] > span[-1]:
        raise PydanticCustomError("span", "must begin with the lower register")
    return span


SPAN = Annotated[list[REGISTER], Field(min_length=2, max_length=2), AfterValidator(_forwards)]


class Table(BaseModel):
    """One table of the file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HeadTable(Table):
    """The top of the file; the tables in it are checked by themselves."""

    model: str = Field(min_length=1, description='the model as on its label, like "SDM630"')
    manufacturer: str = Field(min_length=1, description='who makes it, like "Eastron"')
    protocol: Literal["dlt645-2007", "modbus"] = Field(description="what the meter speaks")
    default_points: list[str] = Field(
        min_length=1, description="the points polled when the configuration names none"
    )
    line: dict[str, Any] = Field(description="the table of the port's settings")
    dlt645: dict[str, Any] = Field({}, description="a table for DL/T 645 meters")
    modbus: dict[str, Any] = Field({}, description="a table for Modbus meters")
    points: dict[str, Any] = Field(min_length=1, description="the table of points and their places")


class LineTable(Table):
    """``[line]``: the port's settings as the meter is delivered."""

    baud: Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200] = Field(
        description="the speed of the meter as delivered"
    )
    parity: Literal["N", "E", "O"] = Field(description="none, even or odd")
    stop_bits: Literal[1, 2] = Field(description="1, or 2 where the manual asks for it")
    timeout_ms: int = Field(1000, ge=50, le=60_000, description="how long to wait for a reply")
    guard_ms: int = Field(20, ge=0, le=10_000, description="silence before the next request")


class Dlt645Table(Table):
    """``[dlt645]``: how the meter is configured; every key may be left out."""

    tariffs: int = Field(4, ge=1, le=63, description="how many tariffs the meter has (04000204)")
    blocks: bool = Field(True, description="false if the meter refuses all blocks")
    freezes: int = Field(
        0, ge=0, le=62, description="how many daily freezes (0506) the meter keeps, at most 62"
    )
    freeze_points: list[str] = Field(
        [], description="the points ending in _daily_freeze that are collected every day"
    )


class ModbusTable(Table):
    """``[modbus]``: what holds for every point that says nothing else."""

    function: FUNCTION = Field(3, description="3 for holding, 4 for input registers")
    type: VALUE_TYPES = Field("u16", description="how a value stands in its registers")
    byte_order: ORDER = Field("big", description="which byte of a register comes first")
    word_order: ORDER = Field("big", description="which register of a value comes first")
    max_registers: int = Field(125, ge=1, le=125, description="the most registers of one read")
    readable: list[SPAN] = Field(
        [], description="[first, last] of registers that may be read together, with their gaps"
    )


class Entry(Table):
    """What every point may say about its value."""

    bits: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        [], description="the bits that are the value, lowest first, like [8, 9]"
    )
    names: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="what the numbers 0, 1, ... are called"
    )
    primary: bool = Field(False, description="true if the meter has already applied the ratio")


class ItemEntry(Entry):
    """A point of a DL/T 645 meter."""

    di: str = Field(
        pattern="^[0-9A-Fa-f]{8}$",
        description='the data identifier as printed, DI3 first, like "00010000"',
    )
    field: int = Field(0, ge=0, description="which value of the item, from 0")


class RegisterEntry(Entry):
    """A point of a Modbus meter."""

    register_: REGISTER = Field(
        alias="register", description="the first register as on the wire, from 0"
    )
    function: FUNCTION | None = Field(None, description="3 for holding, 4 for input registers")
    type: VALUE_TYPES | None = Field(None, description="how the value stands in its registers")
    unit: str | None = Field(None, description="the unit of raw number x scale")
    scale: Annotated[Decimal, Field(strict=False)] = Field(
        Decimal(1), description="raw number x scale = value in the unit, like 0.1"
    )
    absent: int | None = Field(None, description="the raw number that means: no value")


def read_toml(data: bytes) -> dict[str, Any]:
    """The file as a dict, its decimal numbers exact.  Raises ValueError that says what is wrong."""
    try:
        return tomllib.loads(data.decode(), parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except (ValueError, DecimalException) as error:
        raise ValueError(f"a number in it cannot be read: {error}") from error
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error


T = TypeVar("T", bound=Table)


def check(
    form: type[T], found: Mapping[str, Any], place: tuple[str, ...], problems: list[str]
) -> T | None:
    """``found`` as a ``form``, or None; what is wrong with it is added to ``problems``."""
    try:
        return form.model_validate(dict(found))
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_sentence(form, place, detail) for detail in details]
        return None


def _sentence(form: type[Table], place: tuple[str, ...], detail: Mapping[str, Any]) -> str:
    """One problem: where, what was found, what to write instead."""
    loc: tuple[str | int, ...] = detail["loc"]
    where = key_path(*place, *loc)
    fields = {field.alias or name: field for name, field in form.model_fields.items()}
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(str(loc[0]), fields, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(fields)}"
        return f"{where}: unknown key; {hint}"
    meaning = fields[str(loc[0])].description
    if detail["type"] == "missing":
        return f"{where}: missing; write {meaning}"
    must = re.sub("^[A-Z][a-z]+ (input )?should", "must", detail["msg"])
    must = must.removesuffix(" object").replace(" after validation", "")
    return f"{where}: {shown(detail['input'])} {must}; it is {meaning}"


def key_path(*parts: str | int) -> str:
    """A place in the file as TOML writes it: ``modbus.readable[0][1]``."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            key = part if re.fullmatch("[A-Za-z0-9_-]+", part) else repr(part)
            path += f".{key}" if path else key
    return path


def shown(value: object) -> str:
    """What was found, short enough for a message."""
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
