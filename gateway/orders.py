"""What the head-end or a technician asks of us: from the arrived bytes to the stored answer.

A command is remembered, carried out and answered in one transaction, and acknowledged to the broker
only after it; so whatever is cut short is either not there, and comes again, or there as a whole.
The same command gets the same answer for ever.  A refusal changes nothing, so it waits for the next
group commit: a stranger who sends rubbish must not wear out the flash.  Only whoever may write into
the letterbox has refusals remembered, too: there he reads the answer.

What is about money is the cashier's (``Cashier``), what is about supply the switcher's
(``Switcher``): taken on within the same transaction.  What a relay makes of it comes later, by
``answer``.

Used by the core alone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import structlog

from gateway.acquisition.polling import Found, Polling, Reading
from gateway.events import Arrived, Job, JobDone
from gateway.north import contract
from gateway.north.commands import ROLES, Judge, Refusal, Valid
from gateway.north.commands import digest as digest_of
from gateway.north.delivery import Delivery
from gateway.north.signatures import Keys
from gateway.recorder import Recorder
from gateway.store.commands import Commands, Known, Result
from gateway.store.letterbox import Letter
from gateway.store.outbox import Lane, Message, Outbox, RangeError
from protocols.base import Quality

READ_WITHIN_S = 60.0
"""A read that somebody waits for is no use later."""
READS_MAX = 32
REFUSALS_PER_MINUTE = 20
"""More are neither answered nor reported one by one: they are counted."""
REASON_MAX = 500
LETTERBOX = "letterbox"
"""The issuer of letters that are refused: what they say of themselves is not believed."""

FOR_EVER = frozenset((*ROLES, "voucher"))
"""Orders that are never forgotten: repeated after ten years they are still the same."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order."""

    stage: Literal["accepted", "confirmed", "failed", "refused"]
    """``accepted``: more will follow."""
    reason: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    """The answer; must be JSON."""


class Cashier(Protocol):
    """Who carries out the orders about money."""

    def execute(self, command: contract.Command, by: str, wall: float) -> Outcome:
        """Carry out ``command.command``, inside the transaction that remembers it.

        Refused is an outcome, and changes nothing.  Nothing may be remembered in memory that the
        transaction, should it fail, would make untrue.  ``by`` says in words who answers for the
        order, ``wall`` is Unix time.
        """


class Switcher(Protocol):
    """Who carries out the orders about supply."""

    def execute(self, command: contract.Command, by: str, wall: float, *, at_box: bool) -> Outcome:
        """Take ``command.command`` on, inside the transaction that remembers it.

        As with the cashier.  What is accepted is answered later, by ``Orders.answer``.  ``at_box``:
        it came out of the letterbox.
        """

    def works_on(self, command: str) -> bool:
        """Whether the order with this id goes on after a restart; else it has failed."""


class Orders:
    """Commands and acknowledgements of one gateway."""

    def __init__(
        self,
        judge: Judge,
        commands: Commands,
        outbox: Outbox,
        polling: Polling,
        recorder: Recorder,
        delivery: Delivery[Message],
        submit: Callable[[str, Job], None],
    ) -> None:
        self._judge = judge
        self._gateway = judge.gateway
        self._commands = commands
        self._outbox = outbox
        self._polling = polling
        self._recorder = recorder
        self._delivery = delivery
        self._submit = submit
        self._reads: dict[int, tuple[str, tuple[str, ...]]] = {}
        """By job: the command that waits for it, and the points it asked for."""
        self._refusals = 0
        self._minute = 0
        self._untold = 0
        """Refusals that nobody was told of."""
        self.cashier: Cashier | None = None
        """Given by the core where prepayment is configured."""
        self.switcher: Switcher | None = None
        """Given by the core where relays are switched."""
        self.settled = 0
        """Messages that a watermark settled since the start."""

    @property
    def _judge_here(self) -> Judge:
        """Knows the orders that somebody here can carry out."""
        return replace(
            self._judge, money=self.cashier is not None, switching=self.switcher is not None
        )

    def use(self, keys: Keys) -> None:
        """From now on these keys count."""
        self._judge = replace(self._judge, keys=keys)

    def begin(self, wall: float) -> None:
        """Close what a former life of the daemon left open: nobody works on it any more."""
        for id_ in self._commands.open():
            if self.switcher is None or not self.switcher.works_on(id_):
                self._later(id_, "failed", wall, "the gateway restarted before it was done")

    def arrived(
        self, event: Arrived, now: float, wall: float, *, trusted: bool, live: bool
    ) -> None:
        """Act on a message.  When this returns, its effect is on flash, or it has none."""
        verdict = self._judge_here.message(
            event.topic, event.payload, wall, retained=event.retained, trusted=trusted
        )
        match verdict:
            case Refusal(id=str(id_), digest=digest) if digest:
                self._late(id_, digest, verdict, wall)
            case Refusal():
                self._refuse(verdict, wall)
            case contract.Ack():
                self._settle(verdict, now, wall, live=live)
            case Valid():
                self._take(verdict, now, wall, live=live)

    def letter(self, letter: Letter, now: float, wall: float, *, trusted: bool, live: bool) -> None:
        """Act on a letter.  When this returns, its effect and its answer are on flash.

        One that was taken before has its answer already: nothing happens.
        """
        if not contract.is_id(letter.id):
            self._report("a letter whose id is none", None, wall, "command_refused")
            return
        digest = digest_of(letter.what)
        match self._commands.known(letter.id, digest):
            case Known.CONFLICT:
                # Nowhere to put an answer: its writer sees that the id is another's.
                self._report(_conflict(letter.id).reason, None, wall, "command_refused")
            case Known.NEW:
                self._open(letter, digest, now, wall, trusted=trusted, live=live)

    def _open(
        self, letter: Letter, digest: str, now: float, wall: float, *, trusted: bool, live: bool
    ) -> None:
        verdict = self._judge_here.letter(letter.what, wall, trusted=trusted)
        if isinstance(verdict, Valid) and verdict.command.id != letter.id:
            verdict = Refusal(reason="its id is not that of the command in it")
        if isinstance(verdict, Valid):
            who = letter.who if verdict.by == verdict.command.issuer else verdict.by
            self._take(replace(verdict, by=who), now, wall, live=live)
            return
        self._report(verdict.reason, letter.id, wall, "command_refused")
        with self._recorder.commit(now, live=live):
            self._commands.remember(letter.id, digest, LETTERBOX, wall)
            self.answer(letter.id, verdict.stage, wall, verdict.reason)

    def done(self, event: JobDone, found: list[Found], wall: float) -> bool:
        """A job was done.  True if a command waits for it: its answer goes with the next commit."""
        if event.job.id not in self._reads:
            return False
        id_, asked = self._reads.pop(event.job.id)
        readings = [one for one in found if isinstance(one, Reading)]
        values = {p: v for one in readings for p, v in one.values.items()}
        good = {p: v.text() for p, v in values.items() if v.quality is Quality.GOOD}
        # One silent meter is one reason, however many requests it left unanswered.
        faults = dict.fromkeys(outcome.error for outcome in event.outcomes if outcome.fault)
        data: dict[str, object] = {"values": good, "without_value": sorted(set(asked) - set(good))}
        if readings:
            data["taken"] = contract.instant(readings[-1].taken_at)
        stage = "failed" if faults else "confirmed"
        self._later(id_, stage, wall, "; ".join(faults), data)
        return True

    def _take(self, valid: Valid, now: float, wall: float, *, live: bool) -> None:
        command, digest = valid.command, valid.digest
        if self._commands.known(command.id, digest) is Known.CONFLICT:
            self._refuse(_conflict(command.id), wall)
            return
        read: contract.Read | None = None
        keep = command.command.name in FOR_EVER
        with self._recorder.commit(now, live=live):
            known = self._commands.remember(command.id, digest, command.issuer, wall, keep=keep)
            if known is Known.NEW:
                read = self._begin(valid, wall)
            else:
                self._repeat(command.id)
        if read:
            line, job = self._polling.read(read.meter, read.points, now + READ_WITHIN_S)
            self._reads[job.id] = command.id, read.points
            self._submit(line, job)

    def _late(self, id_: str, digest: str, refusal: Refusal, wall: float) -> None:
        """A command came when it was no use any more; perhaps it had come in time, too."""
        match self._commands.known(id_, digest):
            case Known.NEW:
                self._refuse(refusal, wall)
            case Known.KNOWN:
                self._recorder.later(lambda: self._repeat(id_))
            case Known.CONFLICT:
                self._refuse(_conflict(id_), wall)

    def _repeat(self, id_: str) -> None:
        """Give the answer again, as far as there is one."""
        for result in self._commands.results(id_):
            self._recorder.result(self._message(id_, result))

    def _begin(self, valid: Valid, wall: float) -> contract.Read | None:
        """Carry the command out, inside the transaction that remembers it.

        Returns the read to begin once that is on flash.
        """
        command = valid.command
        match command.command:
            case contract.Resend(lane=lane, first=first, last=last):
                found = self._outbox.resend(Lane(lane), first, last)
                self._delivery.resend(lane, first, last)
                missing = [list(run) for run in found.missing]
                data = {"count": found.count, "missing": missing[:100]}
                self.answer(command.id, "confirmed", wall, "", data)
                return None
            case contract.Read() as read:
                if problem := self._cannot_read(read.meter, read.points):
                    self.answer(command.id, "refused", wall, problem)
                    return None
                self.answer(command.id, "accepted", wall)
                return read
            case _:
                self._execute(valid, wall)
                return None

    def _execute(self, valid: Valid, wall: float) -> None:
        """Have an order about money or supply carried out."""
        command = valid.command
        # What nobody here can carry out the judge has refused.
        if isinstance(command.command, contract.SwitchingOrder):
            assert self.switcher  # noqa: S101
            outcome = self.switcher.execute(command, valid.by, wall, at_box=valid.at_box)
        else:
            assert self.cashier  # noqa: S101
            outcome = self.cashier.execute(command, valid.by, wall)
        self.answer(command.id, outcome.stage, wall, outcome.reason, outcome.data)
        if outcome.stage == "refused":
            self._recorder.fact(self._refused(command, outcome.reason[:REASON_MAX]))

    def _refused(self, command: contract.Command, reason: str) -> contract.Fact:
        """What the head-end is told of an order that changed nothing."""
        order = command.command
        at, clock = self._recorder.stamp()
        account = getattr(order, "account", None)
        if isinstance(order, contract.SwitchingOrder):
            from gateway.north.contract_supply import SwitchingRefused  # noqa: PLC0415 - as parts.py

            return SwitchingRefused(
                at=at,
                clock=clock,
                command=command.id,
                name=order.name,
                account=account,
                meter=getattr(order, "meter", None),
                reason=reason,
            )
        from gateway.north.contract_money import MoneyRefused  # noqa: PLC0415 - likewise

        return MoneyRefused(
            at=at,
            clock=clock,
            command=command.id,
            name=order.name,
            account=account,
            payment=getattr(order, "payment", None),
            reason=reason,
        )

    def _cannot_read(self, meter: str, points: tuple[str, ...]) -> str:
        if not self._polling.knows(meter):
            return f"no meter {meter} here; the inventory lists those there are"
        if len(self._reads) >= READS_MAX:
            return f"{READS_MAX} reads are waiting already; ask again when they are answered"
        if unknown := self._polling.unknown(meter, points):
            return f"meter {meter} has no point {', '.join(unknown)}; the inventory lists them"
        if self._polling.refuses(meter, points):
            return f"meter {meter} refuses {', '.join(points)} for good; it is not asked again"
        return ""

    def _settle(self, ack: contract.Ack, now: float, wall: float, *, live: bool) -> None:
        try:
            with self._recorder.commit(now, live=live):
                settled = self._outbox.watermark(Lane(ack.lane), ack.upto, ack.epoch)
        except RangeError as error:
            self._refuse(Refusal(reason=str(error)), wall, "ack_refused")
            return
        self.settled += settled
        if ack.epoch == self._recorder.epoch:
            self._delivery.watermark(ack.lane, ack.upto, now)
        elif settled:
            # The window knows numbers, not epochs: those of a former one make room here.
            self._delivery.resend(ack.lane, 1, ack.upto)

    def _refuse(
        self, refusal: Refusal, wall: float, code: contract.EventCode = "command_refused"
    ) -> None:
        if self._report(refusal.reason, refusal.id, wall, code) and refusal.id:
            result = Result(stage=refusal.stage, reason=refusal.reason, at=wall, final=True)
            message = self._message(refusal.id, result)
            self._recorder.later(lambda: self._recorder.result(message))

    def _report(self, reason: str, id_: str | None, wall: float, code: contract.EventCode) -> bool:
        """Log and report a refusal; False if there were too many of them in this minute."""
        minute = int(wall // 60)
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_MINUTE:
            self._untold += 1
            return False
        log.warning("message refused", reason=reason, command=id_)
        self._recorder.event(code, detail=f"{id_}: {reason}" if id_ else reason)
        return True

    def keep_house(self) -> None:
        """Tell how many refusals were not told one by one.  Once a minute."""
        if self._untold:
            told = f"{self._untold} more, not told one by one: {REFUSALS_PER_MINUTE} a minute are"
            log.warning("messages refused", count=self._untold)
            self._recorder.event("command_refused", detail=told)
            self._untold = 0

    def _later(
        self,
        id_: str,
        stage: str,
        wall: float,
        reason: str,
        data: Mapping[str, object] | None = None,
    ) -> None:
        self._recorder.later(lambda: self.answer(id_, stage, wall, reason, data))

    def answer(
        self,
        id_: str,
        stage: str,
        wall: float,
        reason: str = "",
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Store the next stage of the answer and put it into the outbox, in a transaction."""
        final = stage not in ("accepted", "sent")
        text = json.dumps(data or {})
        result = Result(stage=stage, reason=reason[:REASON_MAX], data=text, at=wall, final=final)
        self._commands.add_result(id_, result)
        self._recorder.result(self._message(id_, result))

    def _message(self, id_: str, result: Result) -> Callable[[int], contract.Results]:
        return lambda seq: contract.Results(
            gateway=self._gateway,
            epoch=self._recorder.epoch,
            lane="urgent",
            seq=seq,
            id=id_,
            stage=result.stage,
            at=contract.instant(result.at),
            reason=result.reason,
            data=json.loads(result.data),
        )


def _conflict(id_: str) -> Refusal:
    return Refusal(reason="this id was used for another command", id=id_)
