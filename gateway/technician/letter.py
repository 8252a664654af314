"""Ordering something of the running gateway: a letter, and the answer to it.

The order goes through the letterbox (gateway/store/letterbox.py) and takes the same way as one from
the head-end; the answer is read from the gateway's own file, where it stands together with what the
order did.  An order that nobody takes within its time expires, so nothing happens behind the back
of somebody who has gone.
"""

import getpass
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from gateway import livestate
from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.keys import KeyFileError, read_private
from gateway.north.commands import digest, signed
from gateway.north.contract import instant
from gateway.north.parts import command_of
from gateway.north.signatures import Why
from gateway.store.commands import Answers, Known, Result
from gateway.store.database import ReadOnly
from gateway.store.faults import StoreError
from gateway.store.letterbox import DIRECTORY, Letter, post

VALID_S = 600.0
"""An order at the box is meant now."""
WAIT_S = 15.0
LOOK_S = 0.2
STALE_AFTER_S = 30.0
"""The gateway writes its state every few seconds; older than this, it is not running."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order."""

    id: str
    results: tuple[Result, ...]
    """Its stages so far; empty while it was not taken."""

    @property
    def last(self) -> Result | None:
        """The newest stage."""
        return self.results[-1] if self.results else None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a technician orders something of one gateway."""

    config: Config
    clock: Clock
    pause: Callable[[float], None]

    def order(self, body: Mapping[str, Any], key: Path | None, wait_s: float = WAIT_S) -> Answer:
        """Post the order ``body`` (a command with its name) and wait for its answer.

        Raises click.ClickException with what to do: the order is wrong in itself, the key cannot
        be used, nothing can be posted.
        """
        id_, payload = self._payload(body, key)
        letter = Letter(id=id_, who=who(), what=payload, posted=self.clock.now())
        try:
            post(self.config.store_directory / DIRECTORY, letter)
        except StoreError as error:
            raise click.ClickException(str(error)) from error
        return self.wait(id_, digest(payload), wait_s)

    def wait(self, id_: str, content: str, wait_s: float) -> Answer:
        """Wait for the final answer; what there is when the time is over."""
        deadline = self.clock.monotonic() + wait_s
        answer = self.look(id_, content)
        while not (answer.last and answer.last.final) and self.clock.monotonic() < deadline:
            self.pause(LOOK_S)
            answer = self.look(id_, content)
        return answer

    def look(self, id_: str, content: str) -> Answer:
        """The answer as far as it has come."""
        try:
            with ReadOnly(self.config.database) as file:
                answers = Answers(file)
                mine = answers.known(id_, content) is Known.KNOWN
                return Answer(id_, tuple(answers.results(id_)) if mine else ())
        except StoreError as error:
            raise click.ClickException(
                f"the order {id_} is posted, but its answer cannot be read: {error}"
            ) from error

    def running(self) -> bool:
        """Whether the gateway has lately written what it is doing."""
        return self.state() is not None

    def state(self) -> livestate.State | None:
        """What the running gateway is doing; None if it is not running, or we may not know."""
        try:
            state = livestate.read(self.config.run_directory)
        except OSError:
            return None
        fresh = state is not None and self.clock.now() - float(state["at"]) <= STALE_AFTER_S
        return state if fresh else None

    def _payload(self, body: Mapping[str, Any], key: Path | None) -> tuple[str, bytes]:
        now, id_ = self.clock.now(), str(uuid.uuid4())
        command = {
            "gateway": self.config.gateway.name,
            "id": id_,
            "issuer": "technician",
            "issued": instant(now),
            "not_after": instant(now + VALID_S),
            "command": {name: value for name, value in body.items() if value is not None},
        }
        payload = json.dumps(command, ensure_ascii=False).encode()
        try:
            command_of().model_validate_json(payload, strict=True)
            return id_, signed(payload, read_private(key)) if key else payload
        except ValidationError as error:
            raise click.ClickException("; ".join(_problems(error))) from error
        except KeyFileError as error:
            raise click.ClickException(str(error)) from error


def _problems(error: ValidationError) -> list[str]:
    """What is wrong with an order, a sentence for each place."""
    found = {}
    for one in error.errors(include_url=False):
        place = ".".join(map(str, one["loc"][2:]))
        said = one["msg"].removeprefix("Value error, ")
        if one["type"] == "string_pattern_mismatch":
            said = f"found {one['input']!r:.60}; possible is {one['ctx']['pattern']}"
        found[place] = f"{place}: {said}" if place else said
    # A list is not empty because what stands in it is wrong.
    return [
        said for place, said in found.items() if not any(p.startswith(f"{place}.") for p in found)
    ]


def who() -> str:
    """Who sits here, as the journal will name him: user, terminal, process."""
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    try:
        place = os.ttyname(0).removeprefix("/dev/")
    except OSError:
        place = "no terminal"
    return f"{user} ({place}, process {os.getpid()})"


def desk(config: Config) -> Desk:
    """The desk of this machine's gateway."""
    return Desk(config, SystemClock(), time.sleep)


def tell(desk: Desk, answer: Answer, *, as_json: bool) -> int:
    """Print the answer, for a person or as JSON; returns the exit status."""
    last = answer.last
    if as_json:
        click.echo(json.dumps(_tree(answer), ensure_ascii=False))
    elif last is not None:
        click.echo(f"{last.stage}: {last.reason}" if last.reason else last.stage)
        for name, value in json.loads(last.data).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            click.echo(f"  {name}: {text or 'nothing'}")
    if hint := last and _hint(desk, last.reason):
        click.echo(hint, err=True)
    if last is None:
        click.echo(_silence(desk, answer), err=True)
    elif not last.final:
        click.echo(f"not done yet; look again with: taiqu account answer {answer.id}", err=True)
    return 0 if last and last.stage in ("accepted", "sent", "confirmed") else 1


def _hint(desk: Desk, reason: str) -> str:
    """What to do about a signature that is not accepted, or a clock that is not trusted."""
    keys = f"the key file that [keys] in {desk.config.path} names"
    hints = {
        Why.UNSIGNED: "sign it: give the command --key FILE; see taiqu key",
        Why.UNKNOWN: f"taiqu key show FILE prints the lines that belong into {keys};"
        " they count within a minute",
        Why.WRONG: f"{keys} has another key of this name: compare taiqu key show of both files",
        Why.REVOKED: "take another key; this one was lost or given up",
        Why.EARLY: "take another key, or wait",
        Why.LATE: f"take another key, or have its not_after in {keys} put off",
        Why.OUT_OF_ROLE: "somebody else has to sign this; taiqu key show keys.toml lists who may",
    }
    found = next((hint for why, hint in hints.items() if reason.startswith(why)), "")
    if "clock is not trusted" in reason:
        found = "let the clock follow a time source (see timedatectl), also one on a laptop by NTP"
    return found


def _tree(answer: Answer) -> dict[str, Any]:
    stages = [
        {
            "stage": one.stage,
            "reason": one.reason,
            "at": instant(one.at),
            "data": json.loads(one.data),
        }
        for one in answer.results
    ]
    return {"id": answer.id, "stages": stages}


def _silence(desk: Desk, answer: Answer) -> str:
    again = f"the answer will be there with: taiqu account answer {answer.id}"
    minutes = VALID_S / 60
    if desk.running():
        return (
            "no answer yet: the gateway is busy, its disk is full, or it has just stopped"
            f" (systemctl status taiqu); {again}"
        )
    return (
        f"the gateway is not running, so nothing was done: look at journalctl -u taiqu; should it"
        f" start within {minutes:.0f} minutes it carries the order out; {again}"
    )
