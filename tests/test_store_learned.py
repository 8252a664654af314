import os
from dataclasses import replace
from pathlib import Path

from gateway.store.database import open_store
from gateway.store.learned import Learned, Refused

FIRST = Refused("M01", "0001FF00", "no such data", 1_767_268_800.0)


def test_what_a_meter_refuses_is_remembered_and_the_newest_refusal_counts(tmp_path: Path) -> None:
    later = replace(FIRST, reason="block too long", at=FIRST.at + 60)
    other = replace(FIRST, meter="M02")
    with open_store(tmp_path / "t.db", lambda: FIRST.at, os.urandom, ballast_bytes=0) as store:
        learned = Learned(store)
        with store.transaction():
            for refused in (FIRST, other, later):
                learned.add(refused)
        assert learned.refused() == [later, other]
