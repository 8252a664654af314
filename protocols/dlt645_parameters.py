"""The data identifiers of what is set in a meter (04), of load profiles (06) and security (07).

Source: DL/T 645-2007 tables A.5 and A.7; extensions filed by State Grid and Southern Grid:
04000108..0C, 040003 06 and 07, 0400040E, 04000508, 04000903..06, 04000F, 040010 to 040015, 0405,
0406, 0409 and all of 07.  Each vendor's identifier is marked as such.
"""

from collections.abc import Iterable

from protocols.dlt645_fields import Field
from protocols.dlt645_patterns import Pattern, family

# identifier, format, unit, name, point
_SINGLE = (
    ("04000101", "YYMMDDWW", "", "date and weekday", "meter_date"),
    ("04000102", "hhmmss", "", "time of day", "meter_clock"),
    ("04000103", "NN", "min", "demand period", ""),
    ("04000104", "NN", "min", "demand sliding time", ""),
    ("04000105", "XXXX", "ms", "test pulse width", ""),
    ("04000106", "YYMMDDhhmm", "", "switch time of the two season tables", ""),
    ("04000107", "YYMMDDhhmm", "", "switch time of the two day tables", ""),
    ("04000108", "YYMMDDhhmm", "", "switch time of the two price sets", ""),
    ("04000109", "YYMMDDhhmm", "", "switch time of the two step sets", ""),
    ("0400010C", "YYMMDDWWhhmmss", "", "date, weekday and time", "meter_time"),
    ("04000201", "NN", "", "number of season zones", ""),
    ("04000202", "NN", "", "number of day tables", ""),
    ("04000203", "NN", "", "number of day periods", ""),
    ("04000204", "NN", "", "number of tariffs", "tariff_count"),
    ("04000205", "NNNN", "", "number of holidays", ""),
    ("04000206", "NN", "", "number of harmonics analysed", ""),
    ("04000207", "NN", "", "number of steps", ""),
    ("04000301", "NN", "", "screens shown in turn", ""),
    ("04000302", "NN", "s", "time per screen", ""),
    ("04000303", "NN", "", "energy decimals shown", ""),
    ("04000304", "NN", "", "power decimals shown", ""),
    ("04000305", "NN", "", "screens shown by key", ""),
    ("04000306", "NNNNNN", "", "CT ratio", "ct_ratio"),
    ("04000307", "NNNNNN", "", "PT ratio", "pt_ratio"),
    ("04000401", "NNNNNNNNNNNN", "", "communication address", "serial_number"),
    ("04000402", "NNNNNNNNNNNN", "", "meter number", "meter_number"),
    ("04000403", "ASCII 32", "", "asset number", ""),
    ("04000404", "ASCII 6", "", "rated voltage", ""),
    ("04000405", "ASCII 6", "", "rated current", ""),
    ("04000406", "ASCII 6", "", "maximum current", ""),
    ("04000407", "ASCII 4", "", "active accuracy class", ""),
    ("04000408", "ASCII 4", "", "reactive accuracy class", ""),
    ("04000409", "XXXXXX", "imp/kWh", "active meter constant", ""),
    ("0400040A", "XXXXXX", "imp/kvarh", "reactive meter constant", ""),
    ("0400040B", "ASCII 10", "", "meter model", "meter_model"),
    ("0400040C", "ASCII 10", "", "production date", ""),
    ("0400040D", "ASCII 16", "", "protocol version", ""),
    ("0400040E", "NNNNNNNNNNNN", "", "customer number", ""),
    ("0400040F", "hex 11", "", "meter position", ""),
    ("04000508", "bits 4", "", "key status word", ""),
    ("04000601", "bits 1", "", "active combination word", ""),
    ("04000602", "bits 1", "", "reactive combination word 1", ""),
    ("04000603", "bits 1", "", "reactive combination word 2", ""),
    ("04000701", "bits 1", "", "modulated infrared speed word", ""),
    ("04000702", "bits 1", "", "contact infrared speed word", ""),
    ("04000703", "bits 1", "", "port 1 speed word", ""),
    ("04000704", "bits 1", "", "port 2 speed word", ""),
    ("04000705", "bits 1", "", "port 3 speed word", ""),
    ("04000801", "bits 1", "", "weekly rest-day word", ""),
    ("04000802", "NN", "", "day table of rest days", ""),
    ("04000901", "bits 1", "", "load-profile mode word", ""),
    ("04000902", "bits 1", "", "timed-freeze mode word", ""),
    ("04000903", "bits 1", "", "instant-freeze mode word", ""),
    ("04000904", "bits 1", "", "agreed-freeze mode word", ""),
    ("04000905", "bits 1", "", "hourly-freeze mode word", ""),
    ("04000906", "bits 1", "", "daily-freeze mode word", ""),
    ("04000A01", "MMDDhhmm", "", "load-profile start", ""),
    ("04000E01", "NN.NNNN", "kW", "import active power upper limit", ""),
    ("04000E02", "NN.NNNN", "kW", "export active power upper limit", ""),
    ("04000E03", "NNN.N", "V", "voltage upper limit", ""),
    ("04000E04", "NNN.N", "V", "voltage lower limit", ""),
    ("04000F01", "XXXXXX.XX", "kWh", "alert energy 1", "balance_energy_alarm1_threshold"),
    ("04000F02", "XXXXXX.XX", "kWh", "alert energy 2", "balance_energy_alarm2_threshold"),
    ("04000F03", "XXXXXX.XX", "kWh", "hoarding energy limit", ""),
    ("04000F04", "XXXXXX.XX", "kWh", "overdraft energy limit", "balance_energy_overdraft_limit"),
    ("04001001", "NNNNNN.NN", "yuan", "alert amount 1", "balance_alarm1_threshold"),
    ("04001002", "NNNNNN.NN", "yuan", "alert amount 2", "balance_alarm2_threshold"),
    ("04001003", "NNNNNN.NN", "yuan", "overdraft amount limit", "balance_overdraft_limit"),
    ("04001004", "NNNNNN.NN", "yuan", "hoarding amount limit", ""),
    ("04001005", "NNNNNN.NN", "yuan", "allow-close amount limit", ""),
    ("04001006", "NNNNNN.NN", "yuan", "refund (write only)", ""),
    ("04001101", "bits 1", "", "meter run feature word 1", ""),
    ("04001104", "bits 8", "", "active-report mode word", ""),
    ("04001201", "YYMMDDhhmm", "", "hourly freeze start", ""),
    ("04001202", "NN", "min", "hourly freeze interval", ""),
    ("04001203", "hhmm", "", "daily freeze time of day", ""),
    ("04001301", "NN", "", "wireless module signal", ""),
    ("04001401", "NNNN", "min", "trip delay", ""),
    # Three bytes here; a filing that means a close delay of two bytes gives invalid values.
    ("04001402", "NNN.NNN", "A", "trip current threshold", ""),
    ("04001403", "NNNN", "min", "over-current hold time", ""),
    ("04001501", "bits 12", "", "active-report status word", ""),
    ("04090501", "NN.NN", "%", "voltage unbalance limit", ""),
    ("04090502", "NN", "s", "voltage unbalance delay", ""),
    ("04110012", "mmhhDDMMYY", "", "cut-off schedule (vendor)", ""),
    ("04600101", "NNNN", "s", "upload interval (vendor)", ""),
    ("04800001", "ASCII 32", "", "vendor's software version", "firmware_version"),
    ("04800002", "ASCII 32", "", "vendor's hardware version", "hardware_version"),
    ("04800003", "ASCII 32", "", "vendor code", ""),
    ("049F0000", "NN", "", "security switch (vendor)", ""),
)

_SECURITY = {
    "070000FF": "identity authentication",
    "070001FF": "authentication validity",
    "070002FF": "end of authentication",
    "070101FF": "open account",
    "070102FF": "top-up",
    "070103FF": "wallet initialisation",
    "070201FF": "key update control",
    "070202FF": "key update parameter",
    "070203FF": "key update identity",
    "070301FF": "key update",
    "078001FF": "read back ESAM file",
    "078002FF": "software compare",
    "078102FF": "ESAM status",
}


_LOAD_PROFILES = (
    ("00", "oldest records"),
    ("01", "records from a given time"),
    ("02", "newest record"),
)


def _parameters() -> Iterable[Pattern]:
    for di, form, unit, name, point in _SINGLE:
        yield Pattern(di, name, (Field(form, unit),), point=point)
    status = (Field("status 2"),)
    yield from family("040005ww", "running status", status, "ww", point="status_word{ww}")
    for number in range(1, 7):
        di = f"04000A{number + 1:02X}"
        yield Pattern(di, f"load-profile interval, class {number}", (Field("NNNN", "min"),))
    yield Pattern("04000Bx3", "settlement day and hour", (Field("DDhh"),))
    for level in range(10):
        yield Pattern(f"04000C{level + 1:02X}", f"level {level} password", (Field("hex 4"),))
    for number in range(12):
        phase, kind = divmod(number, 4)
        name = ("conductance", "susceptance", "resistance", "reactance")[kind]
        di, name = f"04000D{number + 1:02X}", f"phase {'ABC'[phase]} {name} coefficient"
        yield Pattern(di, name, (Field("N.NNN"),))


def _tables() -> Iterable[Pattern]:
    zones = tuple(Field("MMDDNN", name=f"zone {n}") for n in range(1, 15))
    periods = tuple(Field("hhmmNN", name=f"period {n}") for n in range(1, 15))
    for number in (1, 2):
        yield Pattern(f"040{number}0000", f"season table, set {number}", zones)
        yield Pattern(f"040{number}00x8", f"day table of set {number}", periods)
    yield Pattern("040300nn", "holiday", (Field("YYMMDDNN"),))
    yield Pattern("040401nn", "screen shown in turn", (Field("DI"),))
    yield Pattern("040402nn", "screen shown by key", (Field("DI"),))


def _prices() -> Iterable[Pattern]:
    price = (Field("NNNN.NNNN", "yuan/kWh"),)
    limit = (Field("NNNNNN.NN", "kWh"),)
    for number, point in ((1, "tariff_price"), (2, "")):
        tariff, step = (f"{point}{{{axis}}}" if point else "" for axis in ("kk", "ll"))
        di = f"04050{number}kk"
        yield from family(di, f"price, set {number}", price, "kk", point=tariff)
        base = 2 * (number - 1)
        yield from family(f"04060{base}ll", f"step limit, set {number}", limit, "ll")
        di = f"04060{base + 1}ll"
        yield from family(di, f"step price, set {number}", price, "ll", point=step)
    credit = (Field("XXXXXX.XX", "yuan", name="amount"), Field("XXXXXXXX", "times", name="count"))
    yield Pattern("04900000", "top-up without security module (vendor)", credit)


def _opaque() -> Iterable[Pattern]:
    """What is found by its name, but whose bytes stay hex."""
    for number in range(7):
        of = f"class {number}" if number else "all classes"
        for di0, what in _LOAD_PROFILES:
            yield Pattern(f"060{number}00{di0}", f"load profile, {of}: {what}", (Field("hex"),))
    for di, name in _SECURITY.items():
        yield Pattern(di, name, (Field("hex"),))


PARAMETERS: tuple[Pattern, ...] = (*_parameters(), *_tables(), *_prices(), *_opaque())
