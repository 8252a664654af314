"""What the head-end asks of us: from the arrived bytes to the stored answer.

A command is remembered, carried out and answered in one transaction, and acknowledged to the broker
only after it; so whatever is cut short is either not there, and comes again, or there as a whole.
The same command gets the same answer for ever.  A refusal changes nothing, so it waits for the next
group commit: a stranger who sends rubbish must not wear out the flash.

Used by the core alone.
"""

import json
from collections.abc import Callable, Mapping

import structlog

from gateway.acquisition.polling import Found, Polling, Reading
from gateway.events import Arrived, Job, JobDone
from gateway.north import contract
from gateway.north.commands import Refusal, Valid, judge
from gateway.north.delivery import Delivery
from gateway.recorder import Recorder
from gateway.store.commands import Commands, Known, Result
from gateway.store.outbox import Lane, Message, Outbox, RangeError
from protocols.base import Quality

READ_WITHIN_S = 60.0
"""A read that somebody waits for is no use later."""
READS_MAX = 32
REFUSALS_PER_MINUTE = 20

log = structlog.get_logger()


class Orders:
    """Commands and acknowledgements of one gateway."""

    def __init__(
        self,
        gateway: str,
        commands: Commands,
        outbox: Outbox,
        polling: Polling,
        recorder: Recorder,
        delivery: Delivery[Message],
        submit: Callable[[str, Job], None],
    ) -> None:
        self._gateway = gateway
        self._commands = commands
        self._outbox = outbox
        self._polling = polling
        self._recorder = recorder
        self._delivery = delivery
        self._submit = submit
        self._reads: dict[int, str] = {}
        self._refusals = 0
        self._minute = 0

    def begin(self, wall: float) -> None:
        """Close what a former life of the daemon left open: nobody works on it any more."""
        for id_ in self._commands.open():
            self._later(id_, "failed", wall, "the gateway restarted before it was done")

    def open(self) -> tuple[str, ...]:
        """The commands whose answer is still to come."""
        return tuple(self._commands.open())

    def arrived(
        self, event: Arrived, now: float, wall: float, *, trusted: bool, live: bool
    ) -> None:
        """Act on a message.  When this returns, its effect is on flash, or it has none."""
        verdict = judge(event.topic, event.payload, event.retained, self._gateway, wall, trusted)
        match verdict:
            case Refusal():
                self._refuse(verdict, wall)
            case contract.Ack():
                self._settle(verdict, now, live=live)
            case Valid(command, digest):
                self._take(command, digest, now, wall, live=live)

    def done(self, event: JobDone, found: list[Found], wall: float) -> bool:
        """A job was done.  True if a command waits for it: its answer goes with the next commit."""
        id_ = self._reads.pop(event.job.id, None)
        if id_ is None:
            return False
        readings = [one for one in found if isinstance(one, Reading)]
        values = {p: v for one in readings for p, v in one.values.items()}
        faults = [outcome.error for outcome in event.outcomes if outcome.fault]
        data: dict[str, object] = {
            "values": {p: v.text() for p, v in values.items() if v.quality is Quality.GOOD},
            "without_value": sorted(p for p, v in values.items() if v.quality is not Quality.GOOD),
        }
        if readings:
            data["taken"] = contract.instant(readings[-1].taken_at)
        stage = "failed" if faults else "confirmed"
        self._later(id_, stage, wall, "; ".join(faults)[:500], data)
        return True

    def _take(
        self, command: contract.Command, digest: str, now: float, wall: float, *, live: bool
    ) -> None:
        job: tuple[str, Job] | None = None
        with self._recorder.commit(now, live=live):
            known = self._commands.remember(command.id, digest, command.issuer, wall)
            if known is Known.NEW:
                job = self._begin(command, now, wall)
            elif known is Known.KNOWN:
                for result in self._commands.results(command.id):
                    self._recorder.result(self._message(command.id, result))
            else:
                self._refuse(
                    Refusal(reason="this id was used for another command", id=command.id), wall
                )
        if job:
            self._reads[job[1].id] = command.id
            self._submit(*job)

    def _begin(self, command: contract.Command, now: float, wall: float) -> tuple[str, Job] | None:
        """Carry the command out, or begin to; inside the transaction that remembers it."""
        match command.command:
            case contract.Resend(lane=lane, first=first, last=last):
                found = self._outbox.resend(Lane(lane), first, last)
                self._delivery.resend(lane, first, last)
                missing = [list(run) for run in found.missing]
                data = {"count": found.count, "missing": missing[:100]}
                self._answer(command.id, "confirmed", wall, "", data)
                return None
            case contract.Read(meter=meter, points=points):
                if problem := self._cannot_read(meter, points):
                    self._answer(command.id, "refused", wall, problem)
                    return None
                self._answer(command.id, "accepted", wall)
                return self._polling.read(meter, points, now + READ_WITHIN_S)

    def _cannot_read(self, meter: str, points: tuple[str, ...]) -> str:
        if not self._polling.knows(meter):
            return f"no meter {meter} here; the inventory lists those there are"
        if len(self._reads) >= READS_MAX:
            return f"{READS_MAX} reads are waiting already; ask again when they are answered"
        if unknown := self._polling.unknown(meter, points):
            return f"meter {meter} has no point {', '.join(unknown)}; the inventory lists them"
        return ""

    def _settle(self, ack: contract.Ack, now: float, *, live: bool) -> None:
        try:
            with self._recorder.commit(now, live=live):
                self._outbox.watermark(Lane(ack.lane), ack.upto, ack.epoch)
        except RangeError as error:
            self._recorder.event("ack_refused", detail=str(error))
            return
        if ack.epoch == self._recorder.epoch:
            self._delivery.watermark(ack.lane, ack.upto, now)

    def _refuse(self, refusal: Refusal, wall: float) -> None:
        minute = int(wall // 60)
        if minute != self._minute:
            self._minute, self._refusals = minute, 0
        self._refusals += 1
        if self._refusals > REFUSALS_PER_MINUTE:
            return
        log.warning("message refused", reason=refusal.reason, command=refusal.id)
        self._recorder.event("command_refused", detail=refusal.reason)
        if refusal.id:
            result = Result(stage=refusal.stage, reason=refusal.reason, at=wall, final=True)
            message = self._message(refusal.id, result)
            self._recorder.later(lambda: self._recorder.result(message))

    def _later(
        self,
        id_: str,
        stage: str,
        wall: float,
        reason: str,
        data: Mapping[str, object] | None = None,
    ) -> None:
        self._recorder.later(lambda: self._answer(id_, stage, wall, reason, data))

    def _answer(
        self,
        id_: str,
        stage: str,
        wall: float,
        reason: str = "",
        data: Mapping[str, object] | None = None,
    ) -> None:
        """Store the next stage of the answer and put it into the outbox."""
        final = stage not in ("accepted", "sent")
        text = json.dumps(data or {})
        result = Result(stage=stage, reason=reason, data=text, at=wall, final=final)
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
