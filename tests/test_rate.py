"""``taiqu rate`` and ``taiqu tariff``: what a person sees, and what a script gets."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.usage import UsageError
from gateway.prepayment.usage_file import read_usage
from gateway.technician.cli import main
from tests.tariffs import component, make, table, tariff_text

CONFIG = Path(__file__).parent.parent / "config" / "tariffs"
HOME = CONFIG / "zhejiang-home-year-steps.toml"
INDUSTRY = CONFIG / "industry-two-part-capacity.toml"


def taiqu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def rate(tmp_path: Path, tariff: Path, usage: object, *options: str) -> Result:
    path = tmp_path / "usage.json"
    path.write_text(usage if isinstance(usage, str) else json.dumps(usage))
    return taiqu("rate", tariff, path, *options)


def test_a_bill_for_a_person(tmp_path: Path) -> None:
    done = rate(tmp_path, HOME, {"kwh": "300.005", "step_before_kwh": "2600"})

    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "An example: its prices are not to be relied on." in lines
    assert lines[-4:] == [
        "energy, step 1 160 kWh x 0.538 yuan/kWh = 86.08 86.08",
        "energy, step 2 140.005 kWh x 0.588 yuan/kWh = 82.32294, rounded 82.3229 82.3229",
        "rounding -0.0029",
        "total 168.40",
    ]


def test_a_bill_as_data(tmp_path: Path) -> None:
    usage = {
        "kwh": {"sharp": "0", "peak": "0", "flat": "100", "valley": 0},
        "kvarh": "48.43",
        "capacity": [{"kva": "315", "days": 18}, {"kva": "400", "days": 12}],
        "days": 30,
        "period_days": 30,
    }
    done = rate(tmp_path, INDUSTRY, usage, "--json")

    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["lines"][1] == {
        "component": "basic",
        "label": "basic charge by capacity",
        "category": "basic",
        "quantity": "400",
        "unit": "kVA",
        "price": "30",
        "share": "12/30",
        "formula": "400 kVA x 30 yuan/kVA x 12/30 = 4800",
        "amount": "4800.00",
    }
    assert found["total"] == "10537.71"
    assert found["tariff"]["id"] == "industry-two-part-capacity"


def test_everything_wrong_with_a_usage_is_told_at_once(tmp_path: Path) -> None:
    done = rate(tmp_path, HOME, {"kwh": 1.5, "kvahr": "3", "day": "1/7/2026", "days": -1})

    assert done.exit_code == 2
    place = f"{tmp_path / 'usage.json'}: usage"
    kwh, *others = done.stderr.splitlines()
    assert kwh.startswith(f'{place}.kwh: found 1.5; write kWh as text, like "360.5", or by rate')
    assert others == [
        f"{place}.days: found -1; write days covered, 0 to 400",
        f"{place}.day: found '1/7/2026'; write the last day covered, like \"2026-07-31\"",
        f"{place}.kvahr: unknown key; did you mean 'kvarh'?",
    ]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"kwh": {"peek": "1"}}, "usage.kwh.peek: no such rate; did you mean 'peak'?"),
        ({"kwh": {"peak": "1"}}, "capacity: missing"),
        ({"kwh": {"peak": "1", "t2": "1"}}, "usage.kwh.t2: its register t2 stands there twice"),
        ({"kwh": "1", "day": "0001-01-01"}, "usage.day: found '0001-01-01'"),
        ({"kwh": "1", "capacity": "400"}, "energy t1: missing"),
        ({"kwh": "1", "days": 3, "period_days": 2}, "usage: days: found 3 of 2"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "a usage has at most"),
        ("[" * 60_000, "not valid JSON"),
        ("[]", "found []"),
        ('{"kwh": NaN}', "found nan"),
    ],
)
def test_a_usage_that_cannot_be_billed(tmp_path: Path, usage: object, told: str) -> None:
    done = rate(tmp_path, INDUSTRY, usage)

    assert done.exit_code == 2
    assert told in done.stderr
    assert not done.stdout


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in taiqu("rate", tmp_path / "t.toml", HOME).stderr
    assert "cannot be read: No such file" in taiqu("rate", HOME, tmp_path / "u.json").stderr
    (tmp_path / "t.toml").write_bytes(b"\xff")
    assert "not UTF-8 text at byte 0" in taiqu("rate", tmp_path / "t.toml", HOME).stderr


def test_check_praises_the_good_and_tells_of_the_bad(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text(tariff_text(component("flat", price="x"), head="valid_to = 1999-01-01"))

    done = taiqu("tariff", "check", HOME, bad)

    assert done.exit_code == 2
    assert f"{HOME}: good; zhejiang-home-year-steps version 1, 5 checks right" in done.stdout
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        "valid_to",
        "component[0].price",
    ]
    assert taiqu("tariff", "check", HOME).exit_code == 0


def test_show_says_what_holds_on_a_day() -> None:
    done = taiqu("tariff", "show", HOME, "--day", "2026-07-15")

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert "step period 2026-01-01 to 2026-12-31" in lines
    assert "one bill covers 2026-07-01 to 2026-07-31" in lines
    assert "prices: 0.538 / 0.588 / 0.838" in lines
    assert taiqu("tariff", "show", HOME, "--day", "15.7.").exit_code == 2


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_can_be_shown(path: Path) -> None:
    assert taiqu("tariff", "show", path).exit_code == 0


TARIFF = make(
    component("tou", prices={"peak": "1", "valley": "0.5"}),
    rates=["peak", "valley"],
    steps=table(period="year", bounds=["2760"]),
)
KEYS = ["kwh", "kvarh", "reverse_kwh", "capacity", "days", "day", "step_used_kwh", "step_share"]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


@given(st.dictionaries(st.sampled_from(KEYS), anything) | anything)
def test_no_usage_raises_anything_but_usage_error(found: Any) -> None:
    try:
        usage = read_usage(found, TARIFF)
    except UsageError:
        return
    assert usage.period_days >= 1


def test_a_month_may_have_31_days() -> None:
    usage = read_usage({"kwh": "1", "days": 31}, make(component("flat", id="energy", price="0.5")))
    assert (usage.days, usage.period_days) == (31, 31)
