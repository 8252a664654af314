"""Switching: how long a cut and a restore take, what is refused and why, and how many are wrong.

First restores alone, on saturated lines that are spoken (tests/bench/restores.py).  Then whole
streets of 64 homes through sixty days of faults (tests/switch_torture.py).  Their lines are drawn:
a frame waits 0.05 to 3 s for its turn, now and then up to 40 s, and a poll takes 0.3 to 3 s.  So
these are the times of the procedure among faults.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from tests.bench.figures import Figure, quantile
from tests.bench.restores import real, simulated
from tests.switch_judge import Judge, WrongError
from tests.switch_torture import torture

SEEDS, QUICK_SEEDS = 100, 20
RESTORED_S = 15.0


def switching(*, quick: bool) -> Iterator[Figure]:
    """Restores on lines, then sixty days, many times over."""
    yield from real(quick=quick)
    yield from simulated(quick=quick)
    seeds = QUICK_SEEDS if quick else SEEDS
    took: dict[str, list[float]] = {"cut": [], "restore": []}
    refused: Counter[str] = Counter()
    count: Counter[str] = Counter()
    wrong = []
    for seed in range(seeds):
        judge = judged(seed)
        if isinstance(judge, str):
            wrong.append(judge)
            continue
        for name, seconds in took.items():
            seconds.extend(judge.took[name])
        refused.update(judge.refused)
        count.update(judge.count)
    events = dict(count)
    yield _figure(
        "wrong cuts and lost restores among faults",
        len(wrong),
        "",
        0,
        {"seeds": seeds, "why": wrong},
    )
    said = {"from": "balance at its limit, through notice, approval, calendar", "events": events}
    for share in (0.5, 0.99):
        hours = quantile(took["cut"], share) / 3600
        yield _figure(
            f"balance to proven cut among faults, p{share * 100:.0f}", hours, "h", None, said
        )
    said = {"from": "payment or protection, meters at fault included", "events": events}
    for share, aim in ((0.5, RESTORED_S), (0.99, None)):
        restored_s = quantile(took["restore"], share)
        yield _figure(
            f"payment to proven supply among faults, p{share * 100:.0f}", restored_s, "s", aim, said
        )
    reasons = dict(refused.most_common())
    yield _figure("refused cuts among faults", sum(refused.values()), "reasons", None, reasons)


def judged(seed: int) -> Judge | str:
    """What the judge noted of one seed, or what he found wrong."""
    try:
        return torture(seed).judge
    except WrongError as error:
        return f"seed {seed}: {error}"


def _figure(
    name: str, value: float, unit: str, aim: float | None, detail: Mapping[str, object]
) -> Figure:
    return Figure(
        bench="switching", figure=name, value=value, unit=unit, aim=aim, detail=dict(detail)
    )
