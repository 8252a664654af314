"""The demo's past: the hours in which one customer was warned, given notice, and called.

    python -m gateway.technician.demo_past --directory DIR --seed N --until UNIXTIME

From the first notice to a cut the rules want hours, and nobody watches a demo for so long.  They
are not shortened: the same gateway lives through them on simulated time (demo_time.py), with the
same meter, the same keys, and a head-end that does what it is asked for.  It leaves the store as a
gateway does that was stopped, and ``past.jsonl``, all that it told its head-end.  The daemon takes
over ``AHEAD_S`` before the cut may be made.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TextIO

import click

from gateway.acquisition.days import day_of
from gateway.config import Config, load
from gateway.daemon import set_up_log
from gateway.disconnection.regimes import CONTRACT_PREPAY
from gateway.keys import read_private
from gateway.north.contract import instant, topic
from gateway.prepayment.account import Class
from gateway.technician.demo_accounts import (
    CALENDAR,
    DEBTOR,
    DELEGATION,
    LAST_CALL,
    NOTICE,
    ZONE,
    Counter,
    opening_id,
)
from gateway.technician.demo_site import GATEWAY, OPS, PAST, ROLES
from gateway.technician.demo_time import Played
from simulators.area import Area, AreaLine, demo_area
from simulators.ledger import Ledger
from simulators.seller import Seller, top_up

AHEAD_S = 80.0
"""A broker that was reached a minute ago has handed over whatever it kept; before that nobody is
cut."""
READING_S = 2400.0
"""In this time the account is opened, its days are read and charged: from 23:30 to 00:05 no day is
read."""
STEP_S = 5.0
PERIOD_S = 900
"""Live values of the past are worth little."""
VALID_S = 300.0
DAYS = 30
"""The delegation and the calendar are good for so long."""
LEAD_S = CONTRACT_PREPAY.lead_s[Class.ORDINARY]
CALL_S = CONTRACT_PREPAY.last_call_s


class PastError(click.ClickException):
    """The past did not come to what the demo goes on from."""


@dataclass(slots=True)
class Persons:
    """The head-end of the past, and who works there."""

    sellers: dict[str, Seller]
    out: TextIO
    ledger: Ledger = field(default_factory=Ledger)

    def hear(self, topic_: str, payload: bytes) -> None:
        """A message of the gateway's: numbered ones are kept for the head-end of today."""
        self.ledger.take(topic_, payload)
        if "seq" in json.loads(payload):
            self.out.write(json.dumps([topic_, payload.decode()]) + "\n")

    def order(self, played: Played, by: str, id_: str, body: dict[str, Any]) -> None:
        """Order something, signed with the key ``by``."""
        now = played.clock.now()
        order = self.sellers[by].order(GATEWAY, id_, instant(now), instant(now + VALID_S), body)
        played.order(topic(GATEWAY, "commands"), json.dumps(order).encode())

    def asked(self, what: str) -> int | None:
        """The round of the debtor's case in which the gateway asked for this; None: it did not."""
        rounds = [
            int(event["round"])
            for event in self.ledger.events
            if event.get("asks") == what and event.get("account") == DEBTOR.number
        ]
        return rounds[-1] if rounds else None


def proof(round_: int, what: str, channel: str, now: float) -> dict[str, Any]:
    """The proof that the customer was told."""
    return {
        "name": "notice.served",
        "account": DEBTOR.number,
        "round": round_,
        "what": what,
        "channel": channel,
        "served": instant(now),
        "receipt": "delivered",
    }


def agreed(today: date, now: float) -> Iterable[tuple[str, str, dict[str, Any]]]:
    """All that persons have to say beforehand: who, the order's id, the order."""
    windows = {
        "version": 1,
        "first": (today - timedelta(days=1)).isoformat(),
        "last": (today + timedelta(days=DAYS)).isoformat(),
        # The demo has to show a cut at any hour of any day.
        "weekend": [],
    }
    yield "guards", CALENDAR, {"name": "calendar.put", "windows": windows}
    delegation = {
        "name": "delegate",
        "accounts": [DEBTOR.number],
        "debt_max": "100.00",
        "expires": instant(now + DAYS * 86_400),
    }
    yield "agrees", DELEGATION, delegation


def play(config: Config, area: Area, persons: Persons, until: float) -> None:
    """Live through it.  Raises PastError if there is no cut to come at the end."""
    config, area = _alone(config, area)
    began = until - (LEAD_S + CALL_S + READING_S)
    notice_at = until + AHEAD_S - LEAD_S - CALL_S
    played = Played(config, area, began, persons.hear)
    # He has paid before the first day is charged: his balance falls from there.
    played.run(1)
    counter = Counter(area, persons.sellers[OPS], day_of(until, ZONE))
    opening = {**counter.opening(DEBTOR), "language": "en"}
    persons.order(played, OPS, opening_id(DEBTOR), opening)
    played.run(0.2)
    body = top_up(f"demo-{DEBTOR.number}-0", DEBTOR.number, DEBTOR.first, instant(began))
    persons.order(played, OPS, "sell-first", body)
    for by, id_, order in agreed(day_of(began, ZONE), began):
        persons.order(played, by, id_, order)
    waits = {
        "serve_notice": (NOTICE, "notice", "sms"),
        "last_call": (LAST_CALL, "last_call", "phone"),
    }
    while (now := played.clock.now()) < until:
        played.run(min(STEP_S, until - now))
        for asked in list(waits):
            round_ = persons.asked(asked)
            if round_ and played.clock.now() >= notice_at:
                id_, what, channel = waits.pop(asked)
                persons.order(played, "asks", id_, proof(round_, what, channel, now))
    played.stop()
    if waits:
        raise PastError(f"the gateway has not asked for {', '.join(waits)}")


def _alone(config: Config, area: Area) -> tuple[Config, Area]:
    """The debtor's meter and its line: what the others did is not asked for."""
    lines = [
        AreaLine(line.name, tuple(one for one in line.meters if one.asset == DEBTOR.meter))
        for line in area.lines
    ]
    [line] = [line for line in lines if line.meters]
    [meter] = [one for one in config.meters if one.asset == DEBTOR.meter]
    tables = tuple(table for table in config.lines if table.name == line.name)
    meters = (replace(meter, period_s=PERIOD_S),)
    return replace(config, lines=tables, meters=meters), Area((line,))


@click.command()
@click.option("--directory", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=int, required=True)
@click.option("--until", type=float, required=True)
def main(directory: Path, seed: int, until: float) -> None:
    """Play the past of the demo in DIRECTORY."""
    set_up_log()
    signers = {name: read_private(directory / f"{name}.key") for name in ROLES}
    sellers = {name: Seller(signer.id, signer.seed) for name, signer in signers.items()}
    with (directory / PAST).open("w", encoding="utf-8") as out:
        play(load(directory / "gateway.toml"), demo_area(seed), Persons(sellers, out), until)


if __name__ == "__main__":
    main()
