import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.store.database import Database, ReadOnly, open_store
from gateway.store.tariffs import TariffChangedError, TariffReader, Tariffs, TariffVersion

NOON = 1_767_268_800.0
HOME = TariffVersion(
    id="home",
    version=1,
    digest="d1",
    text="price = '0.5'",
    valid_from=date(2026, 1, 1),
    received=NOON,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with open_store(tmp_path / "t.db", lambda: NOON, os.urandom, ballast_bytes=0) as store:
        yield store


def put(store: Database, *versions: TariffVersion) -> list[bool]:
    with store.transaction():
        return [Tariffs(store).put(one) for one in versions]


def test_versions_come_in_the_order_in_which_they_hold(store: Database) -> None:
    later = replace(HOME, version=2, valid_from=date(2026, 7, 1))
    between = replace(HOME, version=3, valid_from=date(2026, 3, 1))
    other = replace(HOME, id="shop")

    assert put(store, HOME, later, other, between) == [True] * 4

    assert Tariffs(store).versions("home") == [HOME, between, later]
    assert Tariffs(store).versions("unheard of") == []
    with ReadOnly(store.path) as file:
        assert TariffReader(file).all() == [HOME, between, later, other]


def test_the_same_version_again_changes_nothing(store: Database) -> None:
    again = replace(HOME, text="price='0.5'", received=NOON + 5)

    assert put(store, HOME, again) == [True, False]
    assert Tariffs(store).all() == [HOME]


@pytest.mark.parametrize("change", [{"digest": "d2"}, {"valid_from": date(2026, 1, 2)}])
def test_a_version_with_other_content_is_refused(
    store: Database, change: dict[str, object]
) -> None:
    put(store, HOME)

    with pytest.raises(TariffChangedError, match=r"has another version 1 already.*a new number"):
        put(store, replace(HOME, **change))  # type: ignore[arg-type]

    assert Tariffs(store).all() == [HOME]
