"""How an account stands with its disconnection now, read from the gateway's file while it runs.

The facts are gathered as for a decision (gateway/switching/evidence.py), at this moment and without
the fresh look at the meter: of that the last decision tells.  What only the running gateway knows
is taken from its live state.

Not supported: what it has found out since its start and shows nobody (a damaged journal, a replay
that is not finished): the last decision tells of those.
"""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from gateway import livestate
from gateway.config import Config
from gateway.config_switching import Switching as Settings
from gateway.disconnection import friendly, mass_limits
from gateway.disconnection.case import Case, State
from gateway.disconnection.facts import AtMeter, Box, Facts, Standing, from_json
from gateway.disconnection.procedure import due_of, follow
from gateway.disconnection.relay import Relay
from gateway.disconnection.votes import Action
from gateway.disconnection.why import Setting
from gateway.north.approvals import Moment, Subject, approvals
from gateway.prepayment.account import Account, Policy
from gateway.prepayment.segment import priced
from gateway.prepayment.tariff_reader import TariffError, parse
from gateway.store.accounts import AccountReader
from gateway.store.approvals import ApprovalReader
from gateway.store.connection import Connection
from gateway.store.journal import JournalReader
from gateway.store.precautions import PrecautionReader
from gateway.store.rulings import RulingReader
from gateway.store.switching import KeptCase, SwitchingReader
from gateway.store.tariffs import TariffReader
from gateway.switching import grounds
from gateway.switching.calendars import stored_calendar
from gateway.switching.stop_switch import StopSwitch
from gateway.switching.supply_point import NoPoint, point_of

TRUSTED = "trusted"


@dataclass(frozen=True, slots=True)
class Outlook:
    """A case as it stands, and what it is explained by."""

    case: Case
    facts: Facts
    setting: Setting


@dataclass(frozen=True, slots=True)
class Window:
    """Where is looked: the gateway's file at one moment, its configuration, its live state."""

    file: Connection
    config: Config
    zone: ZoneInfo
    now: float
    """Unix time."""
    state: livestate.State | None
    """None: the gateway does not run, or we may not see it."""

    def moment(self) -> Moment:
        """Now, and whose signatures count."""
        return Moment(self.now, self._trusted(), self.config.keys)

    def stopped(self) -> str:
        """Who or what stops all cuts; empty: nobody does."""
        stops = PrecautionReader(self.file).stops()
        ordered = "; ".join(f"{one.by} ordered it: {one.reason}" for one in stops)
        pin = self.config.switching.stop_pin if self.config.switching else None
        return StopSwitch(self.config.store_directory, pin, lambda: ordered).stopped()

    def dry_run(self) -> bool:
        """Whether everything but the frame is done."""
        ordered, settings = PrecautionReader(self.file).dry_run(), self.config.switching
        return bool(settings and settings.dry_run) if ordered is None else ordered

    def outlook(self, account: Account) -> Outlook | NoPoint | str:
        """How the account stands; or why it is never disconnected here."""
        settings, prepayment = self.config.switching, self.config.prepayment
        if settings is None or prepayment is None:
            return f"this gateway switches no relays: {self.config.path} has no [switching]"
        policy = prepayment.policies.get(account.policy)
        if policy is None:
            return f"{self.config.path} has no [[policy]] {account.policy}, which it names"
        meters = {meter.asset: meter for meter in self.config.meters}
        point, kept = point_of(account, meters), SwitchingReader(self.file).case(account.number)
        if isinstance(point, NoPoint) and (kept is None or kept.case.state is State.WATCH):
            return point
        meter = "" if isinstance(point, NoPoint) else point
        case = Case(
            account=account.number, meter=meter, regime=account.regime, class_=account.class_
        )
        case = follow(kept.case, Standing.of(account), meter) if kept else case
        calendar = stored_calendar(PrecautionReader(self.file), self.zone)
        return Outlook(
            case,
            self._facts(account, policy, kept, case, settings),
            Setting(regimes=settings.regimes, policy=policy, calendar=calendar, zone=self.zone),
        )

    def _facts(
        self,
        account: Account,
        policy: Policy,
        kept: KeptCase | None,
        case: Case,
        settings: Settings,
    ) -> Facts:
        today = datetime.fromtimestamp(self.now, self.zone).date()
        journal = JournalReader(self.file)
        votes = ApprovalReader(self.file)
        subject = Subject(
            action=Action.DISCONNECT,
            account=account.number,
            policy=account.policy,
            requested_by=case.requested_by,
        )
        return Facts(
            at=self.now,
            account=Standing.of(account),
            money=grounds.how_known(
                grounds.money(journal, account, policy, kept, 0),
                account,
                grounds.charged(journal, account.number),
                journal,
                RulingReader(self.file),
                wall=self.now,
                zone=self.zone,
                priced=self._priced(account, today),
            ),
            due=due_of(
                case,
                settings.regimes,
                approved=approvals(
                    votes.standing(self.now, account.number), subject, self.moment()
                ),
                unprotected_at=votes.unprotected_at(account.number),
            ),
            meter=self._at_meter(case.meter, account.number),
            box=self._box(settings),
            margins=settings.margins,
            today=today,
        )

    def _at_meter(self, asset: str, account: str) -> AtMeter | None:
        meter = next((one for one in self.config.meters if one.asset == asset), None)
        if meter is None:
            return None
        rows = SwitchingReader(self.file)
        kept = rows.relay(asset)
        relay = kept.relay if kept else Relay(meter=asset)
        last = next((from_json(one.facts).meter for one in rows.decisions(account, 1)), None)
        return AtMeter(
            address=meter.address,
            number=meter.number,
            position=relay.state.value,
            fault=relay.fault,
            protected_supply=last is not None and last.protected_supply,
            prepays_itself=last is not None and last.prepays_itself,
            operations=relay.operations,
        )

    def _box(self, settings: Settings) -> Box:
        calendar = stored_calendar(PrecautionReader(self.file), self.zone)
        mass, accounts = SwitchingReader(self.file).mass(), AccountReader(self.file).count()
        link = self.state["link"] if self.state else None
        heard = link is not None and link["up"] and not link["reason"]
        lead_s = settings.margins.restore_lead_s
        return Box(
            clock_trusted=self._trusted(),
            protected=friendly.protected_within(self.now, lead_s, calendar),
            calendar=calendar.version if calendar else "",
            mass=mass_limits.refuse(mass, settings.limits, accounts, self.now),
            drained=heard or settings.cut_offline,
            stopped=bool(self.stopped()),
            journal_sound=True,
            disk_writable=True,
            replayed=True,
            dry_run=self.dry_run(),
        )

    def _trusted(self) -> bool:
        return self.state is not None and self.state["clock"] == TRUSTED

    def _priced(self, account: Account, day: date) -> bool:
        ids = [id_ for since, id_ in account.tariffs if since <= day]
        if not ids:
            return False
        try:
            known = [parse(one.text) for one in TariffReader(self.file).versions(ids[-1])]
        except TariffError:
            return False
        return priced(known, day) is not None
