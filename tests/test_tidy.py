"""The rules of the house, checked: who may import whom, and how long a function may be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    p for top in ("protocols", "gateway", "simulators") for p in (ROOT / top).rglob("*.py")
)
FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400
IO = {
    "serial",
    "paho",
    "sqlite_utils",
    "sqlite3",
    "socket",
    "threading",
    "time",
    "random",
    "logging",
}

RULES = {
    "simulators",
    "structlog",
    "gateway.core",
    "gateway.store",
    "gateway.north",
    "gateway.acquisition",
    "gateway.metering",
    "gateway.money",
    "gateway.switching",
    "gateway.config",
    "gateway.clock",
} | IO
"""What pure rules may not import."""

# The longest prefix that fits a file decides; a name forbids itself and all below it.
FORBIDDEN: dict[str, set[str]] = {
    "protocols": {"gateway", "simulators", "structlog", "pymodbus"} | IO,
    "protocols/modbus.py": {"gateway", "simulators", "structlog"} | IO,
    "simulators": {"gateway"},
    "gateway": {"simulators", "serial", "paho", "sqlite_utils", "sqlite3"},
    "gateway/core.py": {"simulators"} | (IO - {"random"}),
    "gateway/acquisition": {"simulators", "gateway.core", "gateway.store", "gateway.north"}
    | (IO - {"random"}),
    "gateway/acquisition/schedule.py": {"simulators", "structlog", "datetime", "gateway"} | IO,
    "gateway/acquisition/ports.py": {"simulators", "gateway.core", "gateway.store", "gateway.north"}
    | {"sqlite_utils", "paho"},
    "gateway/acquisition/port.py": {"simulators", "gateway.core", "structlog"} | IO,
    "gateway/acquisition/adapter.py": {"simulators", "gateway.core"} | (IO - {"serial"}),
    "gateway/acquisition/remote_port.py": {"simulators", "gateway.core"} | (IO - {"serial"}),
    "gateway/acquisition/runner.py": {"simulators", "gateway.core", "serial", "paho", "time"},
    "gateway/north": {"simulators", "gateway.core", "gateway.store", "gateway.acquisition"}
    | (IO - {"random"}),
    "gateway/north/mqtt.py": {"simulators", "gateway.core", "gateway.store", "gateway.acquisition"},
    "gateway/prepayment": RULES | {"gateway.disconnection"},
    "gateway/disconnection": RULES,
    "gateway/metering": {"simulators"} | (IO - {"random"}),
    "gateway/money": {"simulators", "gateway.switching"} | IO,
    "gateway/switching": {"simulators"} | IO,
    "gateway/store": {"simulators", "gateway.core", "gateway.north", "gateway.acquisition", "paho"},
    # Processes of their own: the demo's gateway, on the machine's clock and on simulated time.
    "gateway/technician/demo_gateway.py": {"simulators", "gateway.core"} | IO,
    "gateway/technician/demo_past.py": IO,
    "gateway/technician/demo_time.py": IO - {"random"},
    "gateway/technician": {"gateway.core", "gateway.daemon", "paho", "sqlite3", "sqlite_utils"},
    "gateway/daemon.py": {"simulators"},
}


def imports(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def forbidden(place: Path) -> set[str]:
    rooms = [room for room in FORBIDDEN if place.is_relative_to(room)]
    return FORBIDDEN[max(rooms, key=len)]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_tidy(path: Path) -> None:
    text = path.read_text()
    tree, place = ast.parse(text), path.relative_to(ROOT)
    ban = forbidden(place)
    broken = {n for n in imports(tree) for f in ban if n == f or n.startswith(f + ".")}
    assert not broken, f"{place} may not import {', '.join(sorted(broken))}"

    assert len(text.splitlines()) <= FILE_LINES_MAX, f"{place} is too long: is there a second room?"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{place}:{node.lineno} {node.name}: {lines} lines"
    assert ast.get_docstring(tree), f"{place} has no docstring"


def test_the_packages_of_the_owner_are_really_used() -> None:
    used = {name.split(".")[0] for path in FILES for name in imports(ast.parse(path.read_text()))}
    assert {"pymodbus", "serial", "paho", "sqlite_utils", "structlog"} <= used
