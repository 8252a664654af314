"""How many exchanges the standard point set takes: asked of the planner, nothing is run."""

from collections.abc import Iterator

from protocols.profile import load
from tests.bench.figures import Figure
from tests.bench.rig import ROOT, STANDARD_POINTS

PLANS = {
    # model: (address, baud rates, how many exchanges are aimed at)
    "dlt645-2007-three-phase": ("000000000001", (2400, 9600, 115200), 5),
    "eastron-sdm630": ("1", (2400, 9600, 19200), 3),
}


def exchanges(*, quick: bool) -> Iterator[Figure]:
    """Exchanges per meter, at every speed.  A model without tariffs or status leaves those out."""
    del quick
    for model, (address, rates, aim) in PLANS.items():
        profile = load(ROOT / "config" / "meters" / f"{model}.toml")
        points = [point for point in STANDARD_POINTS if point in profile.points]
        plans = [profile.plan(address, points, frozenset(), 10 / rate) for rate in rates]
        yield Figure(
            bench="exchanges",
            figure=model,
            value=max(map(len, plans)),
            unit="exchanges",
            aim=aim,
            detail={
                "points": len(points),
                "keys": {
                    rate: [exchange.key for exchange in plan]
                    for rate, plan in zip(rates, plans, strict=True)
                },
            },
        )
