"""One run of the demo: start the parts, watch them, stop the gateway, wait for what it sent."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway import livestate
from gateway.acquisition.days import day_of
from gateway.clock import Clock
from gateway.technician.demo_accounts import DEBTOR, ZONE, Counter
from gateway.technician.demo_books import standings
from gateway.technician.demo_broker import HOST, command, free_port
from gateway.technician.demo_cut import NOTE, Truth, story, switched
from gateway.technician.demo_site import (
    MOVEMENTS,
    PAST,
    PATIENCE_S,
    Process,
    ProcessError,
    Site,
    gateway_command,
    past_command,
    simulator_command,
)
from gateway.technician.demo_verdict import Verdict, judge, lost
from gateway.technician.demo_view import Moment
from simulators.area import Area
from simulators.headend import HeadEnd
from simulators.ledger import Ledger
from simulators.seller import Seller

START_S = 20.0
"""How long a part may take to be there."""
DRAIN_S = 10.0
"""How long we wait for what the stopped gateway has sent."""
STEP_S = 0.25
URGENT = 2
"""So many wishes to stop mean: at once."""


def why(directory: Path) -> str:
    """A command that explains the debtor's disconnection."""
    return f"taiqu disconnect why {DEBTOR.number} --config {directory}/gateway.toml"


class EndedEarlyError(Exception):
    """Somebody wished to stop before there was anything to compare."""


@dataclass(slots=True)
class Demo:
    """The demo at work."""

    site: Site
    area: Area
    clock: Clock
    wishes: Callable[[], int]
    """How often somebody wished it to end."""
    show: Callable[[Moment], None]
    broker: str
    port: int = field(default_factory=free_port)
    ledger: Ledger = field(default_factory=Ledger)
    began: float = 0.0
    """When the gateway was started, monotonic."""
    counter: Counter = field(init=False)
    """Where the customers pay."""
    truth: Truth = field(init=False)
    """What the relays do."""

    def __post_init__(self) -> None:
        signer, today = self.site.signer, day_of(self.clock.now(), ZONE)
        self.counter = Counter(self.area, Seller(signer.id, signer.seed), today)
        self.truth = Truth(self.site.directory / MOVEMENTS, self.area)

    def run(self, seed: int, seconds: float) -> Verdict:
        """Run for so many seconds (or until somebody wishes to stop), and judge.

        Raises ProcessError if a part fails, EndedEarlyError, StoreError.
        """
        site = self.site
        config = site.write_config(self.area, self.broker, self.port)
        self.began = self.clock.monotonic()
        site.start(self.broker, command(self.broker, site.directory, self.port))
        head_end = HeadEnd(self.ledger, HOST, self.port)
        head_end.start()
        try:
            self._until(
                lambda: head_end.wait_until_listening(0), head_end, f"{self.broker} to let us in"
            )
            site.start("simulators", simulator_command(site.directory, seed))
            links = [site.directory / line.name for line in self.area.lines]
            self._until(lambda: all(link.exists() for link in links), head_end, "simulated lines")
            self._play_past(head_end, seed)
            gateway = site.start("gateway", gateway_command(config))
            self.began = self.clock.monotonic()
            self._watch(head_end, seconds)
            self._stop(head_end, gateway)
            self._step(head_end, "")
        finally:
            head_end.stop()
        elapsed_s = self.clock.monotonic() - self.began
        state = livestate.read(site.run_directory)
        told, now = story(self.ledger, self.counter), self.clock.now()
        supply = switched(self.truth.moved, told, self.ledger, elapsed_s, now)
        return judge(self.area, self.ledger, self.counter, state, site.database, supply, elapsed_s)

    def _play_past(self, head_end: HeadEnd, seed: int) -> None:
        """Play the hours before now, and book what the head-end was told in them."""
        until = self.clock.now()
        self.counter.today = day_of(until, ZONE)
        past = self.site.start("past", past_command(self.site.directory, seed, until), ends=True)
        self._until(lambda: not past.running, head_end, "the hours before the start")
        self.site.check()
        for line in (self.site.directory / PAST).read_text(encoding="utf-8").splitlines():
            topic, payload = json.loads(line)
            self.ledger.take(topic, payload.encode())

    def _until(self, there: Callable[[], bool], head_end: HeadEnd, what: str) -> None:
        """Wait for a part."""
        deadline = self.clock.monotonic() + START_S
        while not there():
            self._step(head_end, f"waiting for {what}")
            self.site.check()
            if self.wishes():
                raise EndedEarlyError(f"stopped while waiting for {what}")
            if self.clock.monotonic() >= deadline:
                raise ProcessError(f"waited {START_S:.0f} s in vain for {what}")

    def _watch(self, head_end: HeadEnd, seconds: float) -> None:
        """Let it run."""
        hint = "Ctrl-C ends it, and compares what was stored with what arrived."
        if math.isfinite(seconds):
            hint = f"Ends after {seconds:.0f} s, and compares what was stored with what arrived."
        while not self.wishes() and self.clock.monotonic() - self.began < seconds:
            self._step(head_end, hint)
            self.counter.step(self.ledger, head_end.send, self.clock.now())
            self.site.check()

    def _stop(self, head_end: HeadEnd, gateway: Process) -> None:
        """Stop the gateway as a supervisor does, and wait for everything it has stored."""
        urgent = self.wishes() + URGENT - 1
        gateway.popen.terminate()
        deadline = self.clock.monotonic() + PATIENCE_S
        while gateway.running and self._patient(urgent, deadline):
            self._step(head_end, "The gateway was told to stop ...")
        if self.wishes() >= urgent:
            raise EndedEarlyError("stopped at once; nothing was compared")
        if gateway.popen.poll() != 0:
            code = gateway.popen.returncode
            ended = "did not end in time" if code is None else f"ended with exit status {code}"
            raise ProcessError(f"the gateway was told to stop and {ended}")
        deadline = self.clock.monotonic() + DRAIN_S
        while lost(self.site.database, self.ledger) and self._patient(urgent, deadline):
            self._step(head_end, "Waiting for what the gateway has stored ...")

    def _patient(self, urgent: int, deadline: float) -> bool:
        return self.wishes() < urgent and self.clock.monotonic() < deadline

    def _step(self, head_end: HeadEnd, hint: str) -> None:
        """Take in what arrives within a moment, and show how things stand."""
        head_end.collect(STEP_S)
        self.truth.look()
        moment = Moment(
            now=self.clock.now(),
            elapsed_s=self.clock.monotonic() - self.began,
            broker=f"{self.broker} on {HOST}:{self.port}",
            state=livestate.read(self.site.run_directory),
            meters=self.ledger.meters,
            summary=self.ledger.summary(),
            standings=standings(self.ledger),
            sold=len(self.counter.sold),
            cut=story(self.ledger, self.counter).now_line(self.clock.now()),
            hint=hint,
            more=(f"Try: {why(self.site.directory)}", NOTE),
        )
        self.show(moment)
