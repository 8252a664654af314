"""Tariff files: what is wrong is told all at once, with its place; nothing wrong gets through."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prepayment.tariff_reader import TEXT_MAX_BYTES, TariffError, parse
from tests.tariffs import component, make, table, tariff_text

EXAMPLES = sorted((Path(__file__).parent.parent / "config" / "tariffs").glob("*.toml"))
FLAT = component("flat", price="0.5")
STEPS = table(period="year", bounds=["2760", "4800"])
DAY = ["00:00-24:00"]


def problems(text: str) -> list[str]:
    with pytest.raises(TariffError) as caught:
        parse(text)
    return caught.value.problems


def window(**keys: object) -> str:
    return "[[window]]\n" + table(**keys)


def step_tou(**keys: object) -> str:
    return component(
        "step_tou",
        prices={"peak": ["0.6", "0.7", "0.9"], "valley": ["0.3", "0.35", "0.5"]},
        **keys,
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_good_and_say_that_they_are_examples(path: Path) -> None:
    tariff = parse(path.read_text())

    assert tariff.example
    assert tariff.id == path.stem
    assert tariff.source


def test_all_problems_are_told_at_once() -> None:
    text = tariff_text(
        component("flat", price="0,5"),
        component("stesp", prices=["1", "2"]),
        component("capacity", prise="30"),
        steps=table(period="year", bounds=["4800", "2760"]),
        head='settlement = { every = "month", days = 7 }\n',
    )

    assert problems(text) == [
        'settlement: days and anchor have no meaning for every = "month"',
        "steps.bounds: found '2760' after '4800'; write larger limits upwards",
        "component[0].price: found '0,5'; write a price as quoted text, like \"0.588\"",
        "component[1].type: found 'stesp'; did you mean 'steps'?",
        'component[2].price: missing; write a price as quoted text, like "0.588"',
        "component[2].prise: unknown key; did you mean 'price'?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (tariff_text(FLAT.replace('"0.5"', "0.5")), r"component\[0\].price: found 0.5; .* quoted"),
        (tariff_text(FLAT, FLAT), r"component\[1\].id: found 'flat' again"),
        (tariff_text(FLAT).replace("[[check]]", "[[chek]]"), "tariff.check: missing"),
        (tariff_text(FLAT, head="check = []", check="\n"), "tariff.check: found"),
        (tariff_text(), r"tariff.component: missing"),
        (tariff_text(FLAT, head="example = true"), "an example says where its prices come from"),
        (tariff_text(FLAT, head="valid_to = 2019-12-31"), "before valid_from"),
        (tariff_text(FLAT, head='settlement = { every = "days", days = 7 }'), "write both"),
        (
            tariff_text(component("steps", mode="telescopic", prices=["1", "2"])),
            r"\[steps\]: missing",
        ),
        (
            tariff_text(component("steps", mode="telescopic", prices=["1", "2"]), steps=STEPS),
            "2 prices for 3 steps",
        ),
        (
            tariff_text(FLAT, steps=table(period="year", bounds=["100", "100"])),
            "write larger limits",
        ),
        (tariff_text(FLAT, steps=table(period="year", bounds=["0"])), "write larger limits"),
        (tariff_text(FLAT, steps=table(period="year")), "steps.bounds: missing"),
        (tariff_text(FLAT, steps=table(period="season")), "steps.season: missing"),
        (
            tariff_text(
                FLAT,
                steps=table(period="season")
                + "[[steps.season]]\n"
                + table(seasons=["01-01..06-30", "07-02..12-31"], bounds=["100"]),
            ),
            "07-01 is in no season",
        ),
        (
            tariff_text(
                FLAT,
                steps=table(period="month", bounds=["100"])
                + "[[steps.season]]\n"
                + table(seasons=["06-01..08-31"], bounds=["100", "200"]),
            ),
            "some limits make more steps than others",
        ),
        (
            tariff_text(FLAT, steps=table(period="year", bounds=["100"], scale_days=30)),
            'write period = "settlement"',
        ),
        (
            tariff_text(step_tou(), rates=["peak", "valley"], steps=STEPS),
            r"component\[0\].filling: missing; what a step adds differs from rate to rate",
        ),
        (
            tariff_text(step_tou(filling="in_order"), rates=["peak", "valley"], steps=STEPS),
            r"component\[0\].order: write every rate once",
        ),
        (
            tariff_text(step_tou(filling="proportional"), rates=["peak", "flat"], steps=STEPS),
            "no such rate 'valley'",
        ),
        (
            tariff_text(component("tou", prices={"peak": "1"}), rates=["peak", "flat"]),
            "'flat' has no price",
        ),
        (tariff_text(component("tou", prices={"peak": "1"})), r"\[registers\]: missing"),
        (tariff_text(component("tou", price="1"), rates=["peak"]), "either prices, or price and"),
        (
            tariff_text(component("percent", percent="10", of=["energy"])),
            "no component 'energy' before this one",
        ),
        (
            tariff_text(
                FLAT, rates=["peak"], more=window(rates={"peak": ["00:00-08:00", "09:00-24:00"]})
            ),
            r"window\[0\].rates: 08:00-09:00 have no rate",
        ),
        (
            tariff_text(
                FLAT, rates=["peak"], more=window(rates={"peak": ["22:00-08:00", "07:30-22:00"]})
            ),
            "07:30-08:00 have two rates",
        ),
        (
            tariff_text(FLAT, rates=["peak"], more=window(rates={"peak": ["08:00-08:00"]})),
            "write a window like",
        ),
        (
            tariff_text(FLAT, rates=["peak"], more=window(rates={"peak": ["00:00-25:00"]})),
            "write a window like",
        ),
        (
            tariff_text(FLAT, rates=["peak"], more=window(days=["weekday"], rates={"peak": DAY})),
            "a weekend on 01-01 has no table",
        ),
        (
            tariff_text(
                FLAT,
                rates=["peak"],
                more=window(rates={"peak": DAY})
                + window(seasons=["07-01..08-31"], rates={"peak": DAY}),
            ),
            "a weekday on 07-01 has two tables",
        ),
        (
            tariff_text(
                FLAT, rates=["peak"], more=window(seasons=["07-01..13-31"], rates={"peak": DAY})
            ),
            r"window\[0\].seasons\[0\]: '07-01..13-31' is no season",
        ),
        (
            tariff_text(component("by_total", table=[{"up_to": "10", "prices": ["1"]}])),
            "the last table has none",
        ),
        (
            tariff_text(
                component(
                    "by_total",
                    table=[{"up_to": "10", "prices": ["1"]}, {"up_to": "5", "prices": ["1"]},
                           {"prices": ["1"]}],
                )
            ),
            "not above the limits before it",
        ),
        (tariff_text(FLAT, more="[[loss]]\n" + table(label="x")), "write either kwh or percent"),
        (
            tariff_text(FLAT, rates=["peak"], more="[[loss]]\n" + table(kwh="304")),
            r"loss\[0\].rate",
        ),
        (tariff_text(FLAT, rates=["total"]), "'total' is the name of a register"),
        (tariff_text(FLAT, rates=["peak", "peak"]), "two registers count the same rate"),
        (tariff_text(FLAT).replace("2020-01-01", "0001-01-01"), "tariff.valid_from: found"),
        (tariff_text(FLAT).replace("2020-01-01", "2020-01-01T00:00:00"), "valid_from: found"),
        ("a = [", "not valid TOML"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = " + "[" * 5000, "not valid TOML"),
        ("# " + "x" * TEXT_MAX_BYTES, "a tariff has at most 65536"),
        ("", "tariff.id: missing"),
        ('id = "\ud800"', "not text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    assert any(re.search(told, problem) for problem in problems(text)), problems(text)


def test_a_check_that_does_not_come_out_shows_how_it_was_reckoned() -> None:
    check = "[[check]]\n" + table(usage={"kwh": "3"}, charge="1.51")

    (told,) = problems(tariff_text(FLAT, check=check))

    assert told.startswith("check[0].charge: found '1.51', but it comes out at 1.50; correct")
    assert told.endswith("(flat: 3 kWh x 0.5 yuan/kWh = 1.5)")


def test_a_check_whose_usage_lacks_something_is_a_problem() -> None:
    check = "[[check]]\n" + table(usage={"kwh": "3"}, charge="1")

    assert problems(tariff_text(component("demand", price="40", rule="actual"), check=check)) == [
        "check[0].usage: demand: missing; the tariff has a price per kW of maximum demand"
    ]


def test_the_digest_is_that_of_the_content() -> None:
    text = tariff_text(FLAT)
    moved = "# a comment\n" + text.replace("version = 1\n", "\n\n") + "\n"
    again = moved.replace("valid_from", "version = 1   # moved\nvalid_from", 1)

    assert parse(again).digest == parse(text).digest
    assert parse(text.replace('"0.5"', '"0.6"')).digest != parse(text).digest


def test_equal_add_ons_need_no_filling_rule() -> None:
    prices = {"peak": ["0.6", "0.7", "0.9"], "valley": ["0.3", "0.4", "0.6"]}
    tariff = make(component("step_tou", prices=prices), rates=["peak", "valley"], steps=STEPS)

    assert tariff.uses_rates


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_tariff_error(text: str) -> None:
    with pytest.raises(TariffError):
        parse(text)


GOOD = EXAMPLES[0].read_text()


@given(
    place=st.integers(0, len(GOOD) - 1),
    length=st.integers(0, 40),
    other=st.one_of(
        st.sampled_from(['"', "-1", "0.5", "[]", "{}", "true", "1e9", "2026-01-01", "99999999999"]),
        st.text(max_size=5),
    ),
)
def test_a_damaged_file_is_good_or_refused(place: int, length: int, other: str) -> None:
    damaged = GOOD[:place] + other + GOOD[place + length :]
    with contextlib.suppress(TariffError):
        assert parse(damaged).components
