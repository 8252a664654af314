"""R43: what the head-end and the technician are told of how well supply was cut and restored."""

from datetime import UTC, datetime
from pathlib import Path

from gateway.disconnection.relay_table import State as At
from gateway.technician.supply_figures import summary
from tests.switch_world import DAY, HOUR, SwitchWorld


def closed(world: SwitchWorld) -> bool:
    return world.relay_state() in (At.CLOSED, At.ALLOWED)


def test_r43_times_and_counts_come_from_the_record_and_survive_a_restart(tmp_path: Path) -> None:
    world = SwitchWorld(tmp_path, relays=("button=60",))
    world.to_cut()
    opened_at = world.clock.now()
    [debt_at] = world.database.row(
        "select min(recorded_ms) / 1000.0 from journal where kind = 'charge'"
    ) or (0.0,)
    world.run(60)
    world.top_up("200.00")
    world.until(lambda: closed(world), 60)
    world.power_cut()
    world.run(HOUR)
    world.start()
    midnight = datetime(2026, 1, 1, 16, tzinfo=UTC).timestamp()
    world.run(midnight - world.clock.now() + 600)

    told = world.broker.ledger.supply["world"]
    # The first of the day before it began, then one a day; none twice for the restart.
    assert [one["day"] for one in told] == ["2025-12-31", "2026-01-01"]
    first, second = told
    assert (first["trips"], first["restores"]) == (0, 0)
    assert "cut" not in first
    assert (second["trips"], second["cuts"], second["restores"]) == (1, 1, 1)
    assert (second["wrong_cuts"], second["late_restores"], second["waiting"]) == (0, 0, 0)
    # The world looks every 5 s.
    assert second["cut"]["max_s"] in range(
        round(opened_at - debt_at) - 6, 1 + round(opened_at - debt_at)
    )
    assert second["restore"]["count"] == 1
    assert 0 < second["restore"]["p99_s"] <= second["late_after_s"]

    text = summary(world.database, world.clock.now(), 900)
    assert "last 30 days: 1 trips, 1 cuts proven, 0 wrong; 1 restores, 0 later than 15 min" in text
    assert "zero to cut: p50 " in text


def test_r43_refused_cuts_are_counted_by_rule_and_check(tmp_path: Path) -> None:
    world = SwitchWorld(tmp_path, swapped_at=datetime(2026, 1, 1, 2, 10, tzinfo=UTC))
    world.to_debt()
    world.until(lambda: bool(world.failed()), 5 * HOUR)
    world.run(DAY)
    told = world.broker.ledger.supply["world"][-1]
    counts = {(one["rule"], one["check"]): one["count"] for one in told["refused"]}
    assert counts["R02", "meter_number"] >= 1
    assert (told["trips"], told["cuts"]) == (0, 0)


def test_r43_a_wrong_cut_is_counted(tmp_path: Path) -> None:
    world = SwitchWorld(tmp_path)
    world.to_debt()
    world.top_up("3.00")
    world.until(lambda: world.relay_state() is At.OPEN, 6 * HOUR)
    world.rule("replace")
    world.until(lambda: closed(world), 120)
    world.run(DAY)
    told = world.broker.ledger.supply["world"][-1]
    assert (told["wrong_cuts"], told["cuts"], told["restores"]) == (1, 1, 1)
