"""The table of the configuration that is about switching: absent where no relay is switched.

    [switching]       that relays may be switched from here, how many at once, how fast

Everything has the default of a careful operator.  No message raises a limit that stands here.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from pydantic import Field

from gateway.config_reader import Reader
from gateway.config_tables import FileName, MeterTable, Table
from gateway.disconnection.facts import DAY_S, HOUR_S, Margins
from gateway.disconnection.mass_limits import Limits
from gateway.disconnection.regimes import CONTRACT_PREPAY, STATUTORY, Regimes, Rules
from gateway.disconnection.relay import Times
from gateway.explain import did_you_mean
from gateway.prepayment.account import Class, Regime
from gateway.switching.stop_switch import Pin
from protocols.model import Profile
from protocols.relay import ControlRelay

MINUTE_S = 60
_HEX_4 = "^[0-9A-Fa-f]{8}$"
_OTHERS = 0o077
_DIGITS = 12
"""Of a DL/T 645 address, which is the meter's number as well."""
_KEY_SERVICE = ("98", "99")
"""Levels of passwords that are good only encrypted by the utility's security module."""


class SwitchingTable(Table):
    """``[switching]``: relays may be switched from here."""

    enabled: bool = Field(default=True, description="true or false")
    dry_run: bool = Field(
        default=False, description="true: all is decided and recorded, no trip is sent"
    )
    operator: str = Field(
        "00000000", pattern=_HEX_4, description="the operator code C0 C1 C2 C3, eight hex digits"
    )
    passwords: FileName = Field(
        "", description="a file with the meters' passwords by profile, mode 0600"
    )
    cut_offline: bool = Field(
        default=False, description="true: cuts go on without a head-end; top-ups may wait there"
    )
    cuts_per_10_minutes: int = Field(3, ge=1, le=100, description="cuts, 1 to 100")
    cuts_per_hour: int = Field(10, ge=1, le=500, description="cuts, 1 to 500")
    cuts_per_day_percent: int = Field(
        5, ge=1, le=100, description="percent of the accounts, 1 to 100"
    )
    at_once_percent: int = Field(
        10, ge=1, le=100, description="percent of the accounts falling due at once, 1 to 100"
    )
    below_zero_percent: int = Field(
        10, ge=1, le=100, description="percent of the accounts put below zero, 1 to 100"
    )
    below_zero_accounts: int = Field(3, ge=2, le=1000, description="accounts, 2 to 1000")
    quiet_minutes: int = Field(
        120, ge=0, le=10_080, description="minutes without cuts after a start, 0 to 10080"
    )
    offline_hours: int = Field(
        6, ge=1, le=720, description="hours without a head-end that count as long, 1 to 720"
    )
    delay_s: int = Field(600, ge=0, le=3600, description="seconds of random delay, 0 to 3600")
    last_call_minutes: int = Field(
        30, ge=30, le=1440, description="minutes from the last call to the cut, 30 to 1440"
    )
    contract_notice_hours: int = Field(
        2, ge=1, le=720, description="hours of notice under contract_prepay, 1 to 720"
    )
    statutory_notice_days: int = Field(
        7, ge=3, le=60, description="days of notice under statutory, 3 to 60"
    )
    still_s: int = Field(
        300, ge=30, le=3600, description="seconds without energy that prove a cut, 30 to 3600"
    )
    reading_hours: int = Field(
        48, ge=24, le=168, description="hours that the last reading may be old, 24 to 168"
    )
    late_minutes: int = Field(15, ge=1, le=120, description="minutes, 1 to 120")
    alarm_minutes: int = Field(30, ge=1, le=240, description="minutes, 1 to 240")
    breach_minutes: int = Field(120, ge=1, le=1440, description="minutes, 1 to 1440")
    restores_per_minute: int = Field(2, ge=1, le=60, description="restores of one phase, 1 to 60")
    stop_line: FileName = Field("", description="a file that shows a GPIO line's level, 0 or 1")
    stop_level: Literal["0", "1"] = Field("0", description='the level that stops, "0" or "1"')
    area_meter: str = Field("", description="the asset number of the area meter (台区考核表)")
    transformer_a: int = Field(
        0, ge=0, le=10_000, description="rated current of the transformer in A; 0: not known"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Switching:
    """All about switching, resolved."""

    dry_run: bool = False
    operator: bytes = bytes(4)
    passwords: Mapping[str, bytes] = field(default_factory=dict)
    """PA P0 P1 P2 by profile."""
    cut_offline: bool = False
    limits: Limits = field(default_factory=Limits)
    margins: Margins = field(default_factory=Margins)
    times: Times = field(default_factory=Times)
    regimes: Regimes = field(default_factory=Regimes)
    stop_pin: Pin | None = None
    """The manual stop's line, if there is one."""
    area_meter: str = ""
    transformer_a: int = 0

    def armed(self, profile: Profile) -> Profile:
        """A model with the password and operator code that its meters want here."""
        relay = profile.relay
        if not isinstance(relay, ControlRelay):
            return profile
        password = self.passwords.get(profile.name, relay.authority.password)
        operator = self.operator if any(self.operator) else relay.authority.operator
        authority = replace(relay.authority, password=password, operator=operator)
        return replace(profile, relay=replace(relay, authority=authority))


def read_switching(reader: Reader, data: dict[str, object]) -> Switching | None:
    """The table about switching, which is there; None where it is switched off.

    Notes every problem with the reader.
    """
    table = reader.table(SwitchingTable, data, "switching")
    if "prepayment" not in data:
        reader.say("[switching]", "nothing is prepaid; add the table [prepayment]")
    if table is None or not table.enabled:
        return None
    if not table.late_minutes <= table.alarm_minutes <= table.breach_minutes:
        reader.say(
            "switching.alarm_minutes",
            f"found {table.alarm_minutes}: not between late_minutes and breach_minutes",
        )
    return Switching(
        dry_run=table.dry_run,
        operator=bytes.fromhex(table.operator),
        passwords=_passwords(reader, table.passwords),
        cut_offline=table.cut_offline,
        limits=Limits(
            per_10_minutes=table.cuts_per_10_minutes,
            per_hour=table.cuts_per_hour,
            per_day_percent=table.cuts_per_day_percent,
            at_once_percent=table.at_once_percent,
            below_zero_percent=table.below_zero_percent,
            below_zero_accounts=table.below_zero_accounts,
            quiet_s=table.quiet_minutes * MINUTE_S,
            offline_s=table.offline_hours * HOUR_S,
            delay_s=table.delay_s,
            restores_per_minute=table.restores_per_minute,
        ),
        margins=Margins(reading_age_max_s=table.reading_hours * HOUR_S),
        times=Times(
            still_s=table.still_s,
            late_s=table.late_minutes * MINUTE_S,
            alarm_s=table.alarm_minutes * MINUTE_S,
            breach_s=table.breach_minutes * MINUTE_S,
        ),
        regimes=_regimes(table),
        stop_pin=_pin(reader, table),
        area_meter=table.area_meter,
        transformer_a=table.transformer_a,
    )


def _pin(reader: Reader, table: SwitchingTable) -> Pin | None:
    if not table.stop_line:
        return None
    return Pin(reader.path.parent / table.stop_line, table.stop_level)


def check_switching(
    reader: Reader, switching: Switching, meters: Sequence[tuple[int, MeterTable]]
) -> None:
    """Note what of switching does not fit to the meters."""
    assets = tuple(meter.asset for _, meter in meters)
    area = switching.area_meter
    if area and area not in assets:
        hint = did_you_mean(area, assets)
        reader.say("switching.area_meter", f"found {area!r}: no meter with this asset; {hint}")
    if switching.transformer_a and not area:
        reader.say("switching.area_meter", "missing; write the meter that shows the load")
    numbers = {meter.address: meter.asset for _, meter in meters if len(meter.address) == _DIGITS}
    for n, meter in meters:
        other = numbers.setdefault(meter.number, meter.asset) if meter.number else meter.asset
        if other != meter.asset:
            reader.say(
                f"meter[{n}].number",
                f"found {meter.number!r}: that is meter {other}; each has a number of its own",
            )


def _regimes(table: SwitchingTable) -> Regimes:
    def rules(of: Rules, notice_s: int) -> Rules:
        vulnerable_s = max(notice_s, of.lead_s[Class.VULNERABLE])
        return replace(
            of,
            lead_s=MappingProxyType({Class.ORDINARY: notice_s, Class.VULNERABLE: vulnerable_s}),
            last_call_s=table.last_call_minutes * MINUTE_S,
            delay_s=table.delay_s,
        )

    return Regimes(
        MappingProxyType(
            {
                Regime.STATUTORY: rules(STATUTORY, table.statutory_notice_days * DAY_S),
                Regime.CONTRACT_PREPAY: rules(
                    CONTRACT_PREPAY, table.contract_notice_hours * HOUR_S
                ),
            }
        )
    )


def _passwords(reader: Reader, file: str) -> Mapping[str, bytes]:
    """Passwords by profile: lines like ``dlt645-2007-single-phase = "02123456"``."""
    if not file:
        return {}
    path, where = reader.path.parent / file, "switching.passwords"
    try:
        mode = path.stat().st_mode
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reader.say(where, f"{path} cannot be read: {error.strerror}")
        return {}
    except ValueError as error:  # not UTF-8, or not TOML
        reader.say(where, f"{path} is not valid TOML: {error}")
        return {}
    if mode & _OTHERS:
        reader.say(where, f"{path} may be read by others; chmod 0600")
    passwords = {}
    for profile, password in found.items():
        if not isinstance(password, str) or not re.fullmatch(_HEX_4, password):
            # Never the password itself: the message may end up in a log.
            reader.say(where, f"{path}: {profile}: write PA P0 P1 P2 as eight hex digits in quotes")
            continue
        if password[:2] in _KEY_SERVICE:
            reader.say(
                where,
                f"{path}: {profile}: level {password[:2]} needs the utility's key service, which is"
                ' not supported; write a password of level 02, like "02......"',
            )
        passwords[profile] = bytes.fromhex(password)
    return MappingProxyType(passwords)
