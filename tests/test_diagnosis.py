"""What the counters of a line mean to a technician."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.acquisition.diagnosis import Counts, diagnose
from gateway.events import Fault, Sound
from protocols.base import Stray

GOOD: Counts = {Sound.SHORT: 500, Sound.LONG: 500}


@pytest.mark.parametrize(
    ("counts", "begins"),
    [
        ({}, ""),
        (GOOD, ""),
        ({**GOOD, Fault.SILENT: 300}, ""),
        ({Fault.SILENT: 4}, ""),
        ({Fault.SILENT: 50}, "nothing is heard"),
        ({Fault.SILENT: 50, Stray.ECHO: 50}, "only our own requests come back"),
        ({Fault.DAMAGED: 50, Sound.NOISE: 90, Sound.FLAT: 88}, "only bytes 00 and FF"),
        ({Fault.DAMAGED: 50, Sound.NOISE: 90, Sound.FLAT: 9}, "only garbage is heard"),
        ({**GOOD, Sound.NOISE: 900, Sound.FLAT: 900}, ""),
        ({**GOOD, Sound.LONG_DAMAGED: 60}, "6% of the frames are damaged, nearly all of them long"),
        ({**GOOD, Sound.LONG_DAMAGED: 30, Sound.SHORT_DAMAGED: 30}, "6% of the frames are damaged"),
        ({**GOOD, Sound.LONG_DAMAGED: 6}, ""),
        ({**GOOD, Stray.FOREIGN: 200}, "frames that nobody here asked for"),
        ({**GOOD, Stray.LATE: 200}, "answers come after their time"),
        ({**GOOD, Sound.IDLE: 5000}, "bytes are heard while nobody is asked"),
        ({**GOOD, Stray.ECHO: 1000}, ""),
        ({Fault.SILENT: 50, Stray.NUMBER: 50}, "all answers come with other transaction numbers"),
        ({**GOOD, Stray.NUMBER: 50}, ""),
    ],
)
def test_a_sign_has_its_sentence(counts: Counts, begins: str) -> None:
    sentence = diagnose(counts)

    assert sentence.startswith(begins)
    assert bool(sentence) is bool(begins)


signs = st.sampled_from([*Fault, *Sound, *Stray])


@given(st.dictionaries(signs, st.floats(0, 1e9)))
def test_whatever_was_counted_has_one_sentence_at_most(counts: Counts) -> None:
    assert "\n" not in diagnose(counts)


@given(st.dictionaries(signs, st.floats(0, 0.9)))
def test_too_little_to_go_by_says_nothing(counts: Counts) -> None:
    assert diagnose(counts) == ""
