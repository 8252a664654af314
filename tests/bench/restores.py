"""How long a customer who has paid waits for supply, while the line has more work than time.

On simulated lines the whole story is told: debt, notice, last call, cut, payment, restore.  On real
ones (ptys, mosquitto, the daemon as it is installed) every relay is open for arrears when the
daemon starts, then one customer after the other pays.
"""

import json
import random
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.disconnection.case import Case, State
from gateway.disconnection.relay import Relay
from gateway.disconnection.relay_table import State as Stands
from gateway.north.contract import instant
from gateway.prepayment import drafts
from gateway.prepayment.account import Account, Class, Metering, Mode, Regime
from gateway.prepayment.ledger import Ledger
from gateway.store.accounts import Accounts
from gateway.store.database import open_store
from gateway.store.journal import Journal
from gateway.store.switching import KeptCase, KeptRelay, Switching
from protocols.dlt645 import find_frame
from protocols.dlt645_refusals import RELAY
from simulators.headend import HeadEnd
from simulators.ledger import Taken
from simulators.seller import Seller, top_up
from tests.bench.figures import BenchError, Figure, quantile
from tests.bench.rig import NAME, PATIENCE_S, Entry, Meters, Rig, Tally, rig, wait_for
from tests.bench.wire import SATURATED
from tests.money_rig import flat
from tests.switch_world import HOUR, PREPAID, SwitchWorld
from tests.world import World

ON_WIRE_S, VERIFIED_S = 2.0, 15.0
"""What is aimed at, from the payment's order on."""
DEBT_E4 = 100_000
CASHIER = Seller("cash", b"c" * 32)
MORE = (
    PREPAID
    + """
[switching]
restores_per_minute = 60
"""
)


@dataclass(slots=True)
class Waits:
    """Seconds from the payment's order on, restore by restore."""

    wire: list[float] = field(default_factory=list)
    """To the command on the line."""
    verified: list[float] = field(default_factory=list)
    """To the proof that the meter has obeyed."""
    cut: list[float] = field(default_factory=list)
    """From zero to the proven cut."""


# --- simulated lines ------------------------------------------------------------------------------


def simulated(*, quick: bool) -> Iterator[Figure]:
    """Twelve homes on one line at 2400 baud; at the payment everybody is polled every second."""
    waits = Waits()
    seeds = 4 if quick else 30
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory(prefix="taiqu-bench-switch-") as name:
            _story(SwitchWorld(Path(name), count=12, seed=seed), random.Random(seed), waits)
    detail: dict[str, object] = {"seeds": seeds, "line": "simulated, 2400 baud, saturated"}
    for share in (0.5, 0.99):
        yield Figure(
            bench="switching",
            figure=f"zero to proven cut by contract, p{share * 100:.0f}",
            value=quantile(waits.cut, share) / HOUR,
            unit="h",
            detail={**detail, "of it": "2 h notice, 30 min last call, up to 10 min at random"},
        )
    yield from _figures("simulated line", waits, detail)


def _story(world: SwitchWorld, draw: random.Random, waits: Waits) -> None:
    world.to_cut()
    row = world.database.row("select min(recorded_ms) from journal where kind = 'charge'")
    if row is None or world.relay_state() is not Stands.OPEN:
        raise BenchError("nobody was cut")
    waits.cut.append(world.clock.now() - row[0] / 1000)
    world.hurry_polls()
    World.run(world, 30 + draw.uniform(0, 5))
    before, paid = len(world.frames()), world.clock.monotonic()
    world.top_up("40.00")
    world.quickly(lambda: len(world.frames()) > before, 60)
    waits.wire.append(world.clock.monotonic() - paid)
    world.quickly(lambda: world.relay_state() in (Stands.CLOSED, Stands.ALLOWED), 60)
    waits.verified.append(world.clock.monotonic() - paid)


# --- real lines -----------------------------------------------------------------------------------


class Proofs(Tally):
    """A head-end that notes when it was told that a meter has supply again."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}
        """Monotonic seconds, by asset number."""
        self.refused: list[str] = []

    def take(self, topic: str, payload: bytes) -> Taken:
        """Count, and note."""
        now = time.monotonic()
        if topic.endswith("/events"):
            event = json.loads(payload)["event"]
            if event["code"] == "relay" and event["what"] in ("allowed", "closed"):
                self.at.setdefault(event["meter"], now)
        if topic.endswith("/results") and (result := json.loads(payload))["stage"] == "refused":
            self.refused.append(result["reason"])
        return super().take(topic, payload)


def real(*, quick: bool) -> Iterator[Figure]:
    """Two lines at 2400 baud whose polls take all the time there is."""
    count = 8 if quick else 40
    lines = [Meters(line=f"r{n}", count=count, baud=2400, settings=SATURATED) for n in (1, 2)]
    assets = [asset for line in lines for asset in line.assets]
    with rig() as bench, ExitStack() as closing:
        broker = bench.start_broker()
        bench.configure_meters(bench.start_meters(*lines), *lines)
        _furnish(bench, assets)
        bench.trip(assets)
        proofs = Proofs()
        head_end = HeadEnd(proofs, "127.0.0.1", broker.port, gateway=NAME)
        head_end.start()
        closing.callback(head_end.stop)
        if not head_end.wait_until_listening(PATIENCE_S):
            raise BenchError("the head-end cannot subscribe")
        daemon = bench.start_daemon()
        patience_s = 60 + 8.0 * count
        wait_for("all meters to have answered", lambda: _answered(daemon.state()), patience_s)
        bench.exchanges()
        paid = _pay(head_end, proofs, assets)
        daemon.check()
        entries = bench.exchanges()
    waits = Waits()
    for line in lines:
        told = _told(entries[line.line], line)
        for asset in line.assets:
            if asset not in told or asset not in proofs.at:
                raise BenchError(f"{asset} was not restored; refused: {proofs.refused[:3]}")
            waits.wire.append(told[asset] - paid[asset])
            waits.verified.append(proofs.at[asset] - paid[asset])
    busy = [
        sum(one.wire_s for one in each) / (each[-1].at - each[0].at) for each in entries.values()
    ]
    detail: dict[str, object] = {
        "line": "two ptys, 2400 baud, saturated",
        "busy": [round(one, 2) for one in busy],
        "longest exchange ms": round(max(one.wire_s for e in entries.values() for one in e) * 1000),
        "measured": "from publishing the order to the frame, and to the event at the head-end",
    }
    yield from _figures("real line", waits, detail)


def _furnish(bench: Rig, assets: Sequence[str]) -> None:
    """Accounts in debt whose relays are open for it, as the daemon would have left them."""
    path = bench.folder / "gateway.toml"
    path.write_text(path.read_text() + MORE)
    (bench.folder / "tariffs").mkdir()
    (bench.folder / "tariffs" / "flat.toml").write_text(flat())
    keys = bench.folder / "keys.toml"
    keys.write_text(f'[[key]]\nid = "cash"\npublic = "{CASHIER.public}"\nroles = ["money"]\n')
    keys.chmod(0o600)
    bench.store.mkdir()
    wall = time.time()
    day = datetime.fromtimestamp(wall, UTC).date() - timedelta(days=2)
    database = open_store(bench.store / "taiqu.db", time.time, secrets.token_bytes, ballast_bytes=0)
    accounts, journal, store = Accounts(database), Journal(database), Switching(database)
    with database.transaction():
        for asset in assets:
            meterings = (Metering(meter=asset, since=day, start={"energy_active_import": 0}),)
            account = Account(
                number=asset,
                version=1,
                opened=day,
                mode=Mode.PREPAY_CUT,
                regime=Regime.CONTRACT_PREPAY,
                policy="home",
                tariffs=((day, "flat"),),
                meterings=meterings,
            )
            accounts.add(account, wall, "bench", "bench")
            debt = drafts.adjustment(
                account=asset,
                key=f"debt {asset}",
                effective=wall,
                amount_e4=-DEBT_E4,
                ledger=Ledger.PREPAID,
                detail="{}",
            )
            journal.post(debt, wall, "trusted")
            case = Case(
                account=asset,
                meter=asset,
                regime=account.regime,
                class_=Class.ORDINARY,
                state=State.OPEN,
                round=1,
                since=wall,
            )
            store.set_case(KeptCase(case=case))
            relay = Relay(
                meter=asset, state=Stands.OPEN, since=wall, wanted_open=True, wanted_since=wall
            )
            store.set_relay(KeptRelay(relay=relay, account=asset))
    database.close()


def _answered(state: object) -> bool:
    return bool(state) and all(meter["answered"] for meter in state["meters"])  # type: ignore[index]


def _pay(head_end: HeadEnd, proofs: Proofs, assets: Sequence[str]) -> dict[str, float]:
    """Everybody pays, one after the other; returns when each order was published."""
    chance, paid = random.Random(1), dict[str, float]()
    order = chance.sample(assets, len(assets))
    for asset in order:
        now = time.time()
        body = top_up(f"p-{asset}", asset, "40.00", instant(now))
        command = CASHIER.order(NAME, f"c-{asset}", instant(now), instant(now + 600), body)
        paid[asset] = time.monotonic()
        head_end.send(NAME, "commands", command)
        _listen(head_end, time.monotonic() + chance.uniform(1.5, 3.5))
    ends = time.monotonic() + PATIENCE_S
    while len(proofs.at) < len(assets) and time.monotonic() < ends:
        head_end.collect(0.05)
    return paid


def _listen(head_end: HeadEnd, until: float) -> None:
    while time.monotonic() < until:
        head_end.collect(0.02)


def _told(entries: Sequence[Entry], line: Meters) -> dict[str, float]:
    """When each meter was told to allow its relay to close, by asset number."""
    assets = {str(row["address"]): str(row["asset"]) for row in line.rows}
    told: dict[str, float] = {}
    for entry in entries:
        frame = find_frame(bytes.fromhex(entry.request))[0]
        if frame and frame.control == RELAY:
            told.setdefault(assets[frame.address], entry.at)
    return told


def _figures(place: str, waits: Waits, detail: dict[str, object]) -> Iterator[Figure]:
    for name, values, aim_s in (
        ("restore on the wire", waits.wire, ON_WIRE_S),
        ("supply verified", waits.verified, VERIFIED_S),
    ):
        for share in (0.5, 0.99):
            yield Figure(
                bench="switching",
                figure=f"payment to {name}, {place}, p{share * 100:.0f}",
                value=quantile(values, share),
                unit="s",
                aim=aim_s,
                detail={"restores": len(values), "max_s": round(max(values), 2), **detail},
            )
