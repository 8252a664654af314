"""The 44 invariants of switching, each with the tests that carry its number and who watches it.

    python -m tests.test_switch_rules           the table

A test carries a rule by its name, ``test_r17_...``; where it lies says what it shows: pure code
(``PURE``), the whole gateway on simulated time (``WHOLE``), or one of its parts.  What watches a
rule in the torture raises a ``WrongError`` with its number, and is itself tried by a test that
spoils a right world in that one place.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PURE = frozenset(
    f"test_{name}.py"
    for name in ("disconnection", "friendly", "mass_limits", "preflight", "relay", "right_to_cut")
)
WHOLE = "test_switching"
"""How the names of these files begin."""
WATCHERS = {"judge": "switch_judge.py", "auditor": "switch_auditor.py"}
ATTEMPTS = "switch_attempts.py"
TRIED = ("test_switch_judge.py", "test_switch_auditor.py", "test_switch_attempts.py")


@dataclass(frozen=True, slots=True)
class Rule:
    """One invariant."""

    says: str
    not_pure: str = ""
    """Why no pure code shows it."""
    not_whole: str = ""
    """Why no whole gateway shows it."""
    not_watched: str = ""
    """Why nothing in the torture watches it."""


RULES = {
    1: Rule("no control frame to all or to a pattern"),
    2: Rule("a trip only after the meter's number was read, two minutes before at most"),
    3: Rule("one command id, one operation", not_pure="rows remember it"),
    4: Rule("no trip after its time; an unknown clock is too late"),
    5: Rule("frames die within five minutes", not_pure="the frame is the protocol's"),
    6: Rule("forged, replayed and out of role: nothing changes, and it is told", not_pure="keys"),
    7: Rule("a meter that nobody configured is refused"),
    8: Rule("protected accounts: by no automatic path"),
    9: Rule("protection acts at once; two persons and a delay end it"),
    10: Rule("notice with its lead time, and a last call"),
    11: Rule("an approval by another, for this account and amount, in time"),
    12: Rule("no cut during a dispute"),
    13: Rule("no cut in a protected time or shortly before; no calendar is protected"),
    14: Rule("no cut on estimated, provisional or old data"),
    15: Rule("no cut without a trusted clock"),
    16: Rule("no cut by a gateway that does not trust itself"),
    17: Rule("no cut above the limit at the moment of sending, counting every top-up"),
    18: Rule("payment, protection, dispute, mode, swap, correction end a request"),
    19: Rule("a lowered limit or a corrected past needs a fresh notice"),
    20: Rule("protected supply (保电) beyond the limit ends only after a fresh notice"),
    21: Rule("few cuts in ten minutes, an hour, a day"),
    22: Rule("too many at once latch; two persons or a key at the box release"),
    23: Rule("quiet after a start and a long outage, and until top-ups are drained"),
    24: Rule("a random delay, seen as pending, that can be stopped"),
    25: Rule("the stop switch prevents each cut and outlives a restart"),
    26: Rule("what puts many below zero waits to be confirmed"),
    27: Rule("a cut is proven by status and by energy"),
    28: Rule("a lost reply is read; three tries are the end"),
    29: Rule("what conducts though open is not toggled"),
    30: Rule(
        "who conducts goes on being charged",
        not_pure="settlement asks no relay: test_tidy.py forbids it to know of switching",
        not_watched="the torture posts its own charges; a whole gateway shows it",
    ),
    31: Rule("few operations a day, and a distance between them"),
    32: Rule("a restore within a minute; late, alarm, breach"),
    33: Rule("restores need no network, approval or calendar, and go first"),
    34: Rule("a restore survives everything and is never given up"),
    35: Rule("allow to close; direct only by contract"),
    36: Rule("restores are spread, and pause for a strained area"),
    37: Rule("a wrong cut is restored at once and told with its cause"),
    38: Rule("a power return switches nothing by itself"),
    39: Rule("every decision is stored with what it was based on"),
    40: Rule(
        "every operation is stored with what the meter showed and each frame", not_pure="rows"
    ),
    41: Rule("reason and next step are told before the cut and after it"),
    42: Rule("a dry run does all but the frame"),
    43: Rule(
        "how long and how many, as metrics",
        not_pure="rows",
        not_watched="figures are compared with the truth by their own tests",
    ),
    44: Rule("the same inputs, the same decision"),
}


def carried() -> dict[int, list[tuple[str, str]]]:
    """By rule, its tests: file and name."""
    found: dict[int, list[tuple[str, str]]] = {number: [] for number in RULES}
    for path in sorted(TESTS.glob("test_*.py")):
        if path.name in TRIED:
            continue  # tests of who watches
        for node in ast.parse(path.read_text()).body:
            name = node.name if isinstance(node, ast.FunctionDef) else ""
            for number in re.findall(r"(?<=_r)\d\d(?=_)", name if "test_r" in name else ""):
                found[int(number)].append((path.name, name))
    return found


def named(file: str) -> set[int]:
    """The rules that a file names in its code, its docstrings left out."""
    tree = ast.parse((TESTS / file).read_text())
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    texts = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    )
    return {int(number) for text in texts for number in re.findall(r"\bR(\d\d)\b", text)}


WATCHED = {name: named(file) for name, file in WATCHERS.items()}
WATCHED["attempts"] = named(ATTEMPTS)
# Of these the world itself knows: what it did, and what it ends with.
WATCHED["world"] = {26, 34}
CARRIED = carried()


def kind(file: str) -> str:
    """What a test in this file shows."""
    return "pure" if file in PURE else "whole" if file.startswith(WHOLE) else "part"


def shown(number: int, of: str) -> list[str]:
    """The tests of a rule, of one kind."""
    return [name for file, name in CARRIED[number] if kind(file) == of]


@pytest.mark.parametrize("number", RULES, ids=lambda number: f"R{number:02}")
def test_each_rule_is_carried_and_watched(number: int) -> None:
    rule = RULES[number]
    watchers = [name for name, numbers in WATCHED.items() if number in numbers]

    assert bool(shown(number, "pure")) is not bool(rule.not_pure), "shown by pure code"
    assert bool(shown(number, "whole")) is not bool(rule.not_whole), "shown by the whole"
    assert bool(watchers) is not bool(rule.not_watched), "watched"


def test_there_are_44_of_them() -> None:
    assert sorted(RULES) == list(range(1, 45))


def test_whoever_watches_was_seen_to_find_what_is_wrong() -> None:
    tried = set().union(*(named(file) for file in TRIED))
    assert WATCHED["judge"] | WATCHED["auditor"] | WATCHED["attempts"] <= tried


if __name__ == "__main__":
    for number, rule in RULES.items():
        counts = "".join(f"{len(shown(number, of)):3} {of}" for of in ("pure", "part", "whole"))
        watchers = [name for name, numbers in WATCHED.items() if number in numbers]
        by = ", ".join(watchers) or f"nobody: {rule.not_watched}"
        print(f"R{number:02}  {counts}  {by:26} {rule.says}")
