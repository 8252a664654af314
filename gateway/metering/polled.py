"""What was polled, as the message that tells it."""

from gateway.acquisition.polling import Reading
from gateway.clock import ClockState
from gateway.north import contract, readings
from protocols.base import Quality


def message(
    reading: Reading,
    clock: ClockState,
    suspect: tuple[str, ...] | None,
    grid: readings.Grid | None,
) -> readings.Reading:
    """A reading by the quality of its values.

    ``clock`` is what its stamp is worth, ``grid`` the moment of the grid that it serves.
    """
    by_quality: dict[Quality, list[str]] = {quality: [] for quality in Quality}
    for name, value in reading.values.items():
        by_quality[value.quality].append(name)
    return readings.Reading(
        meter=reading.meter,
        address=reading.address,
        line=reading.line,
        taken=contract.instant(reading.taken_at),
        clock=clock.value,
        values={name: reading.values[name].text() or "" for name in by_quality[Quality.GOOD]},
        absent=tuple(by_quality[Quality.ABSENT]),
        invalid=tuple(by_quality[Quality.INVALID]),
        suspect=suspect,
        grid=grid,
    )
