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
    "u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd16", "bcd32", "bcd48", "bcd64",
    "ascii", "hex", "ymdhms", "ymdwhms",
]  # fmt: skip
ABSENT = int | Literal["nan"]
ORDER = Literal["big", "little"]
FUNCTION = Literal[3, 4]
READ_FUNCTION = Literal[1, 2, 3, 4]
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
    like: str = Field("", description="the model whose file says what this one does not")
    without: list[str] = Field([], description="points of that model which this one lacks")
    protocol: Literal["dlt645-2007", "dlt645-1997", "modbus"] = Field(
        description="what the meter speaks"
    )
    default_points: list[str] = Field(
        min_length=1, description="the points polled when the configuration names none"
    )
    line: dict[str, Any] = Field(description="the table of the port's settings")
    dlt645: dict[str, Any] = Field({}, description="a table for DL/T 645 meters")
    modbus: dict[str, Any] = Field({}, description="a table for Modbus meters")
    points: dict[str, Any] = Field(min_length=1, description="the table of points and their places")
    relay: dict[str, Any] = Field({}, description="the table of how the relay is switched")
    identify: list[dict[str, Any]] = Field([], description="tables, one for each sign of the model")


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

    tariffs: int = Field(
        4, ge=1, le=63, description="how many tariffs the meter has (04000204; 1997: C313)"
    )
    blocks: bool = Field(True, description="false if the meter refuses all blocks")
    padding: Literal["00", "AA"] = Field(
        "00", description="what fills address digits that the meter does not use"
    )
    freezes: int = Field(
        0, ge=0, le=62, description="how many daily freezes (0506) the meter keeps, at most 62"
    )
    freeze_points: tuple[str, ...] = Field(
        (),
        strict=False,
        description="the points ending in _daily_freeze that are collected every day",
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
    absent: dict[VALUE_TYPES, ABSENT] = Field(
        {},
        description='by type the raw number that means no value, like { i16 = 0x7FFF }, or "nan"',
    )


class IdentifyTable(Table):
    """``[[identify]]``: one sign by which the model is known; all of them must hold."""

    register_: REGISTER | None = Field(
        None, alias="register", description="the register to look at"
    )
    object_: Annotated[int, Field(ge=0, le=255)] | None = Field(
        None, alias="object", description="the object of function 43 to look at: 0 is the maker"
    )
    function: FUNCTION | None = Field(None, description="3 for holding, 4 for input registers")
    type: VALUE_TYPES = Field("u16", description="how the value stands in its registers")
    registers: int = Field(0, ge=0, le=125, description="how many registers a text takes")
    bits: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        [], description="the bits that are looked at, lowest first, like [8, 9]"
    )
    values: list[int] = Field([], description="the raw numbers that it may be")
    between: list[int] = Field(
        [], max_length=2, description="[lowest, highest] raw number that it may be"
    )
    text: str = Field("", description="what it must contain, in any case of letters")
    unit: bool = Field(False, description="true if it must be the meter's own address")


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
        pattern="^([0-9A-Fa-f]{4}){1,2}$",
        description='the data identifier as printed, like "00010000" (1997: "9010")',
    )
    field: int = Field(0, ge=0, description="which value of the item, from 0")
    decimals: int | None = Field(
        None, ge=0, le=9, description="digits behind the point, where the meter has others"
    )


class RegisterEntry(Entry):
    """A point of a Modbus meter."""

    register_: REGISTER = Field(
        alias="register", description="the first register as on the wire, from 0"
    )
    function: READ_FUNCTION | None = Field(
        None, description="3 for holding, 4 for input registers; 1 for coils, 2 for inputs"
    )
    type: VALUE_TYPES | None = Field(None, description="how the value stands in its registers")
    unit: str | None = Field(None, description="the unit of raw number x scale")
    scale: Annotated[Decimal, Field(strict=False)] = Field(
        Decimal(1), description="raw number x scale = value in the unit, like 0.1"
    )
    registers: int = Field(0, ge=0, le=125, description="how many registers a text takes")
    absent: ABSENT | list[ABSENT] | None = Field(
        None, description='the raw number that means: no value; several in a list; "nan" for floats'
    )
    folded: bool = Field(
        False, description="true for a power factor that counts on to 2 where the current leads"
    )


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


def filled_up(raw: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with what only ``base`` has: keys, and keys in tables; ``without`` leaves points out,
    and an empty table the whole table of ``base``.

    Raises ValueError where ``without`` names no point of ``base``.
    """
    merged = dict(base)
    points = base.get("points")
    known = dict(points) if isinstance(points, dict) else {}
    without = raw.get("without")
    for name in without if isinstance(without, list) else []:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"without: {name!r} is not in the [points] of {raw['like']}")
        del known[name]
    merged["points"] = known
    for key, value in raw.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merged[key] | value if both and value else value
    return merged


T = TypeVar("T", bound=Table)


def check(
    form: type[T], found: Mapping[str, Any], place: tuple[str | int, ...], problems: list[str]
) -> T | None:
    """``found`` as a ``form``, or None; what is wrong with it is added to ``problems``."""
    try:
        return form.model_validate(dict(found))
    except ValidationError as error:
        details = error.errors(include_url=False)
        problems += [_sentence(form, place, detail) for detail in details]
        return None


def _sentence(form: type[Table], place: tuple[str | int, ...], detail: Mapping[str, Any]) -> str:
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
