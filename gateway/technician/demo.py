"""``taiqu demo``: everything at once on this machine, and a count of what arrived.

Simulated meters on two RS-485 lines, the real gateway as a process of its own, an MQTT broker, and
a head-end that subscribes, and sells top-ups to six prepaid customers.  One of them was given
notice in the hours before, is cut after a minute and a half, pays, and has supply again.  At the
end the gateway is stopped as a supervisor stops it, and what it stored is compared with what the
head-end has; the last energy registers with what the meters show; the balances with what was truly
used; the cut with what the rules ask for.
"""

import json
import math
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click

from gateway.clock import SystemClock
from gateway.store.faults import StoreError
from gateway.technician.demo_broker import NoBrokerError, available, choose
from gateway.technician.demo_run import Demo, EndedEarlyError, why
from gateway.technician.demo_site import ProcessError, site
from gateway.technician.demo_verdict import Verdict
from gateway.technician.demo_view import Screen
from simulators.area import AreaError, demo_area


class Wishes:
    """Counts the wishes to stop: Ctrl-C, SIGTERM, a closed terminal.  The second one is urgent."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, *_: object) -> None:
        """Handle a signal."""
        self.count += 1


@contextmanager
def signals_to(handle: Callable[..., None]) -> Iterator[None]:
    """Every signal that ends a program goes to ``handle`` meanwhile."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, handle) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class FailedError(click.ClickException):
    """The demo failed; what it leaves behind may say why."""

    def __init__(self, why: str, place: Path) -> None:
        super().__init__(f"{why}; everything is kept in {place}")


@contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    """Where the demo lives.  A directory of our own making is removed, unless the demo failed."""
    if directory is not None:
        yield _prepared(directory)
        return
    made, failed = Path(tempfile.mkdtemp(prefix="taiqu-demo-")), False
    try:
        yield made
    except FailedError:
        failed = True
        raise
    finally:
        if not failed:
            shutil.rmtree(made)


def _prepared(directory: Path) -> Path:
    """Raises click.BadParameter if the directory cannot be used."""
    if any((directory / name).exists() for name in ("store", "gateway.toml")):
        problem = f"{directory} holds an earlier demo; remove it or name another one"
        raise click.BadParameter(problem, param_hint="--directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{directory}: {error.strerror}"
        raise click.BadParameter(problem, param_hint="--directory") from error
    return directory.resolve()


def _run(place: Path, seed: int, seconds: float, broker: str | None) -> Verdict:
    """Run the demo in ``place`` to its end.  Raises click.ClickException if a part of it fails."""
    wishes, screen, clock = Wishes(), Screen(sys.stdout), SystemClock()
    with signals_to(wishes.add), site(place) as parts:
        try:
            name = choose(available(), broker)
            demo = Demo(parts, demo_area(seed), clock, lambda: wishes.count, screen.show, name)
            return demo.run(seed, seconds)
        except (ProcessError, StoreError) as error:
            screen.close()
            click.echo(parts.last_words(), err=True)
            raise FailedError(str(error), place) from error
        except (NoBrokerError, AreaError, EndedEarlyError) as error:
            raise click.ClickException(str(error)) from error
        finally:
            screen.close()


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=math.inf,
    metavar="N",
    help="End after N seconds.",
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object on a line.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Work in DIR and keep it: configuration, database, logs.",
)
@click.option("--seed", default=1, show_default=True, help="Another seed makes other customers.")
@click.option(
    "--broker",
    type=click.Choice(["mosquitto", "amqtt"]),
    help="Without it: mosquitto where it is installed, else amqtt.",
)
def demo(
    *, seconds: float, as_json: bool, directory: Path | None, seed: int, broker: str | None
) -> None:
    """Show everything at once: meters, gateway, broker, head-end.  No hardware is needed.

    16 simulated meters on two RS-485 lines are read, and what they say is stored and delivered over
    MQTT while you watch.  Six customers prepay: as the days of the past are read, their balances
    fall, and whoever is warned tops up, but one.  He is cut after some 100 s, pays, and has supply
    again half a minute later; his hours of notice were played on simulated time.  Ctrl-C ends it;
    then what the gateway stored is compared with what the head-end received, and what that says
    with what the meters show.

    Exit status 0 only if nothing was lost and nothing is wrong.
    """
    with _place(directory) as place:
        verdict = _run(place, seed, seconds, broker)
        for complaint in verdict.complaints:
            click.echo(complaint, err=True)
        if directory and not as_json:
            click.echo(f"Its files stay: {why(place)}")
        click.echo(json.dumps(asdict(verdict.counts)) if as_json else verdict.told())
        if not verdict.good:
            raise FailedError("not everything arrived as it should", place)
