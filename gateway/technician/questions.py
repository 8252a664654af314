"""What ``taiqu read`` asks a meter, and what the answer means: points, identifiers or registers.

Points are named by a profile and read in the fewest exchanges; identifiers (DL/T 645) and registers
(Modbus) are read one by one, for a meter that nobody has described yet.

Not supported: writing.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from protocols import dlt645, dlt645_1997_items, modbus
from protocols.base import Quality, Request, Value
from protocols.modbus_values import Order, decode_value, registers
from protocols.planner import Dialect
from protocols.profile import SHIPPED, Profile

PROFILE_DIRECTORIES = (Path("/etc/taiqu/meters"), SHIPPED)
"""Where meter profiles are looked for: this site's own first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One value as it is shown."""

    name: str
    """A point, ``00010000``, or a register's number."""
    value: str | None
    """The exact decimal, or a text; None if there is none."""
    unit: str = ""
    meaning: str = ""
    """What the value is where the name does not say it, or why there is none."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, and how its reply is understood."""

    names: tuple[str, ...]
    """The points, identifier or register it is for."""
    request: Request
    answers: Callable[[bytes], list[Answer]]
    """From the bytes of a good reply to what is shown."""
    key: str = ""
    """What to remember if the meter refuses it, so that it is asked otherwise."""


def profile_path(name: str) -> Path | None:
    """The file of a profile: ``name`` may be a path itself.  None if there is no such profile."""
    if name.endswith(".toml"):
        return Path(name)
    files = (directory / f"{name}.toml" for directory in PROFILE_DIRECTORIES)
    return next((file for file in files if file.is_file()), None)


def profile_names() -> list[str]:
    """All profiles that ``profile_path`` finds by name."""
    return sorted({file.stem for place in PROFILE_DIRECTORIES for file in place.glob("*.toml")})


def of_points(
    profile: Profile, address: str, points: Sequence[str], refused: AbstractSet[str]
) -> list[Question]:
    """The fewest questions for ``points``, none of those refused before.

    Raises RequestError for a wrong address or an unknown point.
    """

    def asking(values: Callable[[bytes], dict[str, Value]]) -> Callable[[bytes], list[Answer]]:
        return lambda data: [_answer(name, value) for name, value in values(data).items()]

    return [
        Question(exchange.points, exchange.request, asking(exchange.values), exchange.key)
        for exchange in profile.plan(address, points, refused)
    ]


def address_question() -> Question:
    """Asks the only DL/T 645 meter on a line who it is."""

    def answers(data: bytes) -> list[Answer]:
        return [Answer("address", data.hex())]

    return Question(("address",), dlt645.read_address(), answers)


def of_item(dialect: Dialect, address: str, di: str) -> Question:
    """The question for one data identifier, as printed.  Raises RequestError."""
    di = di.upper()
    item = dialect.find(di)
    blocks = {block.di: block for block in dlt645_1997_items.blocks(di)}

    def answers(data: bytes) -> list[Answer]:
        if item is None:
            return [Answer(di, data.hex(" ").upper(), meaning="identifier not known here: raw")]
        if blocks:
            return [
                _answer(f"{block}[{number}]", value, blocks[block].label(number))
                for block, values in dlt645_1997_items.decode_set(di, data).items()
                for number, value in enumerate(values)
            ]
        values = item.decode(data)
        if len(values) == 1:
            return [_answer(di, values[0], item.point or item.name)]
        return [
            _answer(f"{di}[{number}]", value, item.label(number))
            for number, value in enumerate(values)
        ]

    return Question((di,), dialect.read(address, di), answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """Some registers, and how their numbers are written."""

    function: int
    first: int
    count: int
    type: str
    byte_order: Order = "big"
    word_order: Order = "big"

    def question(self, unit: int) -> Question:
        """Raises RequestError for registers or a unit that do not exist."""
        request = modbus.Request(unit, self.function, self.first, self.count)
        return Question((str(self.first),), request, self._answers)

    def _answers(self, data: bytes) -> list[Answer]:
        width = registers(self.type)
        found = []
        for place in range(0, self.count - width + 1, width):
            part = data[2 * place : 2 * (place + width)]
            number = decode_value(part, self.type, self.byte_order, self.word_order)
            text = None if number is None else _number(number, self.type)
            found.append(Answer(str(self.first + place), text, "", part.hex(" ").upper()))
        return found


def _number(number: int | float, type_name: str) -> str:
    """A float with the digits that its type really has."""
    return format(number, ".7g") if type_name == "f32" else str(number)


def _answer(name: str, value: Value, meaning: str = "") -> Answer:
    if value.quality is Quality.ABSENT:
        meaning = f"{meaning} (the meter has no such value now)".strip()
    elif value.quality is Quality.INVALID:
        meaning = f"{meaning} (the meter sent no valid value)".strip()
    return Answer(name, value.text(), value.unit, meaning)
