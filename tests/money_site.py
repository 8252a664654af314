"""The place of the money world: its configuration, all versions of its tariffs, its keys."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

from gateway.north.signatures import Key, Keys, Role, from_text
from simulators.customers import Customer, Kind
from simulators.seller import Seller
from tests.places import HOME, KIND, place
from tests.tariffs import component, table, tariff_text

SHIPPED = Path(__file__).parent.parent / "config" / "tariffs"
GATEWAY = "money"
CASH = Seller("cash", b"c" * 32)
OFFICE = Seller("office", b"o" * 32)
PRICES = Seller("prices", b"p" * 32)
VOUCHER_SEED = b"v" * 32
KEYS = Keys(
    {
        seller.key: Key(
            id=seller.key, public=from_text(seller.public) or b"", roles=frozenset((role,))
        )
        for seller, role in ((CASH, Role.MONEY), (OFFICE, Role.ACCOUNT), (PRICES, Role.TARIFF))
    }
)

VOUCHERS = """
[[voucher_key]]
id = 1
public = "{voucher_key}"
"""

COMMERCE = tariff_text(
    component("tou", id="energy", prices={"s": "1.21", "p": "0.93", "f": "0.62", "v": "0.31"}),
    component("per_kwh", id="funds", price="0.0271"),
    component("daily", id="service", amount="0.355"),
    component("fixed", id="meter", amount="9.99"),
    rates=("s", "p", "f", "v"),
).replace('id = "test"', 'id = "commerce"')
DAILY = tariff_text(
    component("steps", id="energy", mode="telescopic", prices=["0.5283", "0.6113", "0.8617"]),
    head='id = "daily"\nversion = 1\nvalid_from = 2020-01-01\n'
    'settlement = { every = "days", days = 1, anchor = 2026-01-01 }\n',
    steps='period = "month"\nbounds = ["60", "150"]\n',
).replace('id = "test"\nversion = 1\nvalid_from = 2020-01-01\n', "")
"""Each day a bill of its own: whatever day some energy is taken for shows."""
PV_HOME = tariff_text(
    component("flat", id="energy", price="0.5283"),
    component("export", id="sun", price="0.3913"),
    rates=(),
).replace('id = "test"', 'id = "pv-home"')


@dataclass(frozen=True)
class Version:
    """A version of a tariff, and the day on which the gateway gets it."""

    text: str
    known: date

    @property
    def id(self) -> str:
        return found(self.text, "id").strip('"')

    @property
    def number(self) -> int:
        return int(found(self.text, "version"))


def found(text: str, key: str) -> str:
    match = re.search(rf"^{key} = (.+)$", text, re.MULTILINE)
    assert match
    return match[1]


def versions(start: date, days: int) -> list[Version]:
    """All versions there are in so many days: prices rise, and are not always told in time."""
    first = [lower((SHIPPED / f"{name}.toml").read_text()) for name in SHIPPED_NAMES]
    made = [Version(text, start) for text in (*first, COMMERCE, PV_HOME, DAILY)]
    rises = ((0.3, 5), (0.5, -9), (0.8, -2))
    for n, one in enumerate(made.copy()):
        for number, (part, early) in enumerate(rises[: n % 4], 2):
            since = start + timedelta(days=round(days * part) + n)
            text = dearer(one.text, number, since)
            made.append(Version(text, since - timedelta(days=early)))
    return made


SHIPPED_NAMES = (
    "zhejiang-home-year-steps",
    "zhejiang-home-year-steps-tou",
    "shanghai-home-year-steps-tou",
    "hunan-home-season-steps",
    "zhejiang-joint-meter-flat",
    "small-shop-weekly",
)
TARIFFS = {
    Kind.HOME: (*SHIPPED_NAMES[:5], "daily", "daily"),
    Kind.PV_HOME: ("pv-home",),
    Kind.SHOP: ("small-shop-weekly", "commerce", "daily"),
    Kind.WORKSHOP: ("commerce",),
    Kind.WEEKEND: ("hunan-home-season-steps", "zhejiang-joint-meter-flat"),
}
"""What customers of a kind may have."""


def lower(text: str) -> str:
    """With a year's steps so low that they are reached in a month or two."""
    for bound, tenth in (("2760", "276"), ("3120", "312"), ("4800", "480")):
        text = text.replace(f'"{bound}"', f'"{tenth}"')
    head, first, rest = text.partition("[[component]]")
    return head + first + rest.partition("[[check]]")[0] + check(head, "2026-01-01")


def check(head: str, day: str) -> str:
    """That nothing used on no day costs nothing."""
    rates = re.findall(r't\d = "(\w+)"', head)
    nothing = {"kwh": dict.fromkeys(rates, "0") or "0", "days": 0, "day": day}
    return "[[check]]\n" + table(usage=nothing, charge="0")


def dearer(text: str, number: int, since: date) -> str:
    """Another version of a tariff: 7 % more for each rise."""
    head, first, rest = text.partition("[[component]]")
    prices = rest.partition("[[check]]")[0]
    rise = Decimal("1.07") ** (number - 1)
    prices = re.sub(
        r'"(\d+\.\d+)"',
        lambda one: f'"{(Decimal(one[1]) * rise).quantize(Decimal("0.0001"))}"',
        prices,
    )
    head = re.sub(r"^version = .+$", f"version = {number}", head, flags=re.MULTILINE)
    head = re.sub(r"^valid_from = .+$", f"valid_from = {since}", head, flags=re.MULTILINE)
    return head + first + prices + check(head, since.isoformat())


def write_config(directory: Path, customers: Sequence[Customer]) -> Path:
    """The configuration that knows all meters, also those that are fitted only later."""
    voucher_key = Seller("voucher", VOUCHER_SEED).public
    own = 'hoarding = "1500.00"\n', KIND, VOUCHERS.format(voucher_key=voucher_key)
    text = place(GATEWAY, "jump_floor_kwh = 50\n", HOME, *own)
    fitted = [(one, meter) for one in customers for meter in one.fitted]
    for n, (customer, meter) in enumerate(fitted, 1):
        text += (
            f'[[meter]]\nasset = "{meter.meter}"\nline = "east"\naddress = "{n:012}"\n'
            f'profile = "dlt645-2007-single-phase"\nct_ratio = {customer.ratio}\n'
        )
    path = directory / "gateway.toml"
    path.write_text(text)
    return path
