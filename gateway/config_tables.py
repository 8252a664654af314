"""The tables of the configuration file as models: what may stand where, and what to write.

A field's description completes the sentence "write ..." in an error message.
"""

from fractions import Fraction
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9-]{1,32}$", description="1 to 32 letters, digits or hyphens"),
]
FileName = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Baud = Literal[300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200]
BAUD_RATES: tuple[int, ...] = get_args(Baud)
Address = Annotated[
    str,
    BeforeValidator(lambda found: str(found) if type(found) is int else found),
    Field(description="the communication address, in quotes"),
]
_SIDE = "[0-9]{1,7}([.][0-9]{1,6})?"


def as_fraction(ratio: str) -> Fraction:
    """A ratio as the file has it, exactly.  Raises ValueError unless both its sides count."""
    primary, _, secondary = ratio.partition("/")
    sides = Fraction(primary), Fraction(secondary or 1)
    if not all(sides):
        raise ValueError("0 is no ratio")
    return sides[0] / sides[1]


def _checked_ratio(ratio: str) -> str:
    as_fraction(ratio)
    return ratio


def _checked_set_s(seconds: int) -> int:
    if seconds and not 10 <= seconds <= 300:
        raise ValueError("beyond 300 s a meter ignores the broadcast time")
    return seconds


RatioText = Annotated[
    str,
    BeforeValidator(lambda found: str(found) if type(found) in (int, float) else found),
    Field(pattern=f"^{_SIDE}(/{_SIDE})?$"),
    AfterValidator(_checked_ratio),
]


class Table(BaseModel):
    """What all tables share: frozen, strict, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class GatewayTable(Table):
    """``[gateway]``: who we are."""

    name: Name
    profiles: FileName = Field("meters", description="a directory, relative to this file")
    run_directory: FileName = Field(
        "/run/taiqu", description="a directory on tmpfs, for live state"
    )
    timezone: str = Field(
        "Asia/Shanghai", description="where the meters' midnight is, like Asia/Shanghai"
    )


class StoreTable(Table):
    """``[store]``: where and how what was read is kept."""

    directory: FileName = Field("/var/lib/taiqu", description="a directory that survives a restart")
    group_commit_s: float = Field(
        5.0, ge=0.5, le=600, description="seconds between two commits of readings, 0.5 to 600"
    )
    keep_days: int = Field(
        30, ge=1, le=3650, description="days for which messages are kept, 1 to 3650"
    )
    max_mib: int = Field(
        256, ge=4, le=65536, description="MiB that messages may take on flash, 4 to 65536"
    )
    ballast_mib: int = Field(
        8, ge=1, le=1024, description="MiB held back for a full disk, 1 to 1024"
    )


class CollectionTable(Table):
    """``[collection]``: daily freezes (日冻结), the meters' clocks, the grid (15 分钟曲线)."""

    backfill_days: int = Field(
        62, ge=1, le=62, description="days back that are read where they are missing, 1 to 62"
    )
    in_time: str = Field(
        "02:00",
        pattern="^(0[0-9]|1[0-9]|2[0-2]):[0-5][0-9]$",
        description="the local time by which a freeze counts as in time, like 02:00",
    )
    clock_limit_s: int = Field(
        60, ge=5, le=3600, description="seconds a meter's clock may be off, 5 to 3600"
    )
    clock_set_s: Annotated[int, AfterValidator(_checked_set_s)] = Field(
        0, description="seconds off from which a meter's clock is set, 10 to 300; 0 for never"
    )
    grid_minutes: Literal[0, 15, 30, 60] = Field(
        15, description="15, 30 or 60: minutes between two moments of the grid; 0 for no grid"
    )
    grid_days: int = Field(
        7, ge=1, le=40, description="days for which the grid's gaps are filled, 1 to 40"
    )


class MqttTable(Table):
    """``[mqtt]``: the head-end's broker."""

    brokers: tuple[str, ...] = Field(
        strict=False,
        min_length=1,
        description='addresses like "mqtt://host:1883" or "mqtts://host:8883"',
    )
    username: str = Field("", description="the user name the broker knows us by")
    password_file: FileName = Field(
        "", description="a file that holds the password alone, mode 0600"
    )
    ca_file: FileName = Field(
        "", description="the PEM file of the authority that signed the broker"
    )
    cert_file: FileName = Field("", description="the PEM file of our certificate")
    key_file: FileName = Field("", description="the PEM file of our private key, mode 0600")
    keepalive_s: int = Field(60, ge=5, le=3600, description="seconds, 5 to 3600")
    mqtt5: bool = Field(
        default=True, description="true; false for a broker that leaves MQTT 5 without an answer"
    )
    confirm: Literal["broker", "head_end"] = Field(
        "broker", description='"broker" (PUBACK) or "head_end" (watermarks on the topic acks)'
    )
    history_kib_s: int = Field(
        0, ge=0, le=1024, description="KiB a second for what comes late, 1 to 1024; 0: no limit"
    )


class KeysTable(Table):
    """``[keys]``: whose signatures count; needed for orders about money."""

    file: FileName = Field("", description="the key file, like keys.toml; see gateway/keys.py")


class LineTable(Table):
    """``[[line]]``: one RS-485 pair, or one Modbus TCP address."""

    name: Name
    port: str = Field(
        min_length=1,
        description='"/dev/serial/by-id/...", "socket://host:port" (raw), "rfc2217://host:port" or'
        ' "tcp://host:port" (Modbus TCP)',
    )
    latency_ms: int = Field(
        0, ge=0, le=5000, description="milliseconds a serial server or radio adds, 0 to 5000"
    )
    transaction_ids: Literal["echoed", "ignored"] = Field(
        "echoed",
        description='"echoed", or "ignored" where a Modbus TCP gateway numbers its answers itself',
    )
    rs485: Literal["adapter", "kernel"] = Field(
        "adapter", description='who switches the direction: "adapter" (by itself) or "kernel"'
    )
    rs485_rts: Literal["high", "low"] = Field(
        "high", description='"high" or "low": the level of RTS that makes the transceiver send'
    )
    rs485_before_ms: int = Field(
        0, ge=0, le=100, description="milliseconds from the switch to the first bit, 0 to 100"
    )
    rs485_after_ms: int = Field(
        0, ge=0, le=100, description="milliseconds from the last bit to the switch, 0 to 100"
    )


class MeterTable(Table):
    """``[[meter]]``: one meter on a line.  What is not given stands in its profile."""

    asset: Name
    line: Name
    address: Address
    profile: Name
    points: tuple[str, ...] = Field((), strict=False, description="names of points of the profile")
    period_s: int = Field(900, ge=1, le=86400, description="seconds from poll to poll, 1 to 86400")
    baud: Baud | None = Field(None, description="one of " + ", ".join(map(str, BAUD_RATES)))
    parity: Literal["none", "even", "odd"] | None = Field(
        None, description='"none", "even" or "odd"'
    )
    stop_bits: Literal[1, 2] | None = Field(None, description="1 or 2")
    timeout_ms: int | None = Field(
        None, ge=50, le=10000, description="milliseconds for the first byte, 50 to 10000"
    )
    timeout_min_ms: int = Field(
        250, ge=50, le=10000, description="milliseconds, the shortest learned timeout, 50 to 10000"
    )
    guard_ms: int | None = Field(
        None, ge=0, le=5000, description="milliseconds of silence before a request, 0 to 5000"
    )
    grid: bool = Field(default=True, description="true, or false to leave it out of the grid")
    max_kw: int | None = Field(
        None, ge=1, le=10_000_000, description="kW that can never be exceeded here, at least 1"
    )
    try_gaps: bool = Field(
        default=False, description="true: reads over unknown registers are tried (Modbus)"
    )
    ct_ratio: RatioText = Field("1", description='a number like 200, or "1000/5"')
    pt_ratio: RatioText = Field("1", description='a number like 100, or "10000/100"')
    number: str = Field(
        "",
        pattern="^([0-9]{1,20})?$",
        description="the number that it says it has (表号), in quotes; compared before a trip",
    )
    phase: Literal["", "L1", "L2", "L3"] = Field(
        "", description='"L1", "L2" or "L3"; left out for three phases, or if nobody knows'
    )
    direct_close: bool = Field(
        default=False, description="true where the contract lets supply come back unattended"
    )
    breaker: Name | None = Field(
        None, description="the asset of the breaker (外置断路器) that switches what is behind it"
    )
