"""What holds for a line whatever the meters, the port and the order of things do."""

import itertools
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.events import Fault, Priority
from tests.line_world import Ask, Behaviour, Toy, answer, truth
from tests.line_world import world as make_world

TIMEOUT_S = 0.5
LATE_S = 1.0
MISDEEDS = ("honest", "late", "silent", "damaged", "broken", "echo", "noise", "foreign", "busy")

jobs = st.lists(
    st.tuples(
        st.sampled_from("123"),  # meter
        st.lists(st.integers(1, 200), min_size=1, max_size=4),  # items
        st.sampled_from(Priority),
        st.integers(1, 3),  # tries
        st.floats(0, 20),  # when
        st.floats(0.1, 60),  # useful for
    ),
    min_size=1,
    max_size=12,
)
losses = st.lists(st.floats(0, 40), max_size=4)


def meter(random: Random, misdeeds: list[str], *, nameless: bool) -> Behaviour:
    """Answers in every way, but never later than ``LATE_S`` after its time."""

    def behave(ask: Ask) -> list[tuple[float, bytes]]:
        good = answer(ask, truth(ask), nameless=nameless)
        soon_s = random.uniform(0.02, TIMEOUT_S - 0.01)
        return {
            "honest": [(soon_s, good)],
            "late": [(random.uniform(TIMEOUT_S, TIMEOUT_S + LATE_S - 0.01), good)],
            "silent": [],
            "damaged": [(soon_s, good[:-1] + bytes([good[-1] ^ 1]))],
            "broken": [(soon_s, good[: random.randrange(len(good))])],
            "echo": [(0.0, Toy().encode(ask)), (soon_s, good)],
            "noise": [(0.01, b"\x00\xff"), (soon_s, good)],
            "foreign": [(0.01, answer(Ask(9, ask.item, ask.seq), b"lies")), (soon_s, good)],
            "busy": [(soon_s, bytes([0x23, ask.meter, 6, (0x29 + ask.meter) & 0xFF]))],
        }[random.choice(misdeeds)]

    return behave


@given(
    jobs=jobs,
    losses=losses,
    seed=st.integers(0, 2**32),
    misdeeds=st.lists(st.sampled_from(MISDEEDS), min_size=1, max_size=5),
    nameless=st.booleans(),
)
def test_every_job_is_reported_once_and_no_answer_is_taken_for_another(
    jobs: list[tuple[str, list[int], Priority, int, float, float]],
    losses: list[float],
    seed: int,
    misdeeds: list[str],
    nameless: bool,
) -> None:
    """The world itself asserts that the most urgent goes first and that no shell would spin."""
    random = Random(seed)
    late_s = LATE_S if nameless else 0.0
    world = make_world("1", "2", "3", nameless=nameless, timeout_s=TIMEOUT_S, late_s=late_s)
    for number in (1, 2, 3):
        world.behaviour[number] = meter(random, misdeeds, nameless=nameless)
    submitted = [
        world.job(
            name,
            *items,
            priority=priority,
            tries=tries,
            at=1000 + when,
            not_after=1000 + when + useful_s,
        )
        for name, items, priority, tries, when, useful_s in jobs
    ]
    for when in losses:
        world.at(1000 + when, "unplugged")
    world.run(1200)

    assert sorted(done.job.id for done in world.done) == [job.id for job in submitted]
    for done in world.done:
        assert [outcome.request for outcome in done.outcomes] == list(done.job.requests)
        for outcome in done.outcomes:
            assert outcome.tries <= done.job.tries
            assert (outcome.reply is None) == (outcome.fault is not None)
            if outcome.reply:
                assert outcome.reply.data == truth(outcome.request)  # type: ignore[arg-type]
            if outcome.fault is Fault.EXPIRED:
                assert outcome.tries == 0
    sent = [when for when, _, _ in world.sent]
    assert sent == sorted(sent)
    assert sum(done.busy_s for done in world.done) <= world.now - 1000


@given(
    jobs=jobs,
    seed=st.integers(0, 2**32),
    misdeeds=st.lists(st.sampled_from(MISDEEDS), min_size=1, max_size=5),
    when=st.floats(0, 20),
)
def test_the_supply_is_restored_after_one_exchange_at_most(
    jobs: list[tuple[str, list[int], Priority, int, float, float]],
    seed: int,
    misdeeds: list[str],
    when: float,
) -> None:
    """However busy the line and however bad its meters: nobody else is asked before."""
    random = Random(seed)
    world = make_world("1", "2", "3", "4", timeout_s=TIMEOUT_S)
    for number in (1, 2, 3):
        world.behaviour[number] = meter(random, misdeeds, nameless=False)
    for name, items, priority, tries, at, useful_s in jobs:
        world.job(
            name,
            *items,
            priority=max(priority, Priority.RELAY),
            tries=tries,
            at=1000 + at,
            not_after=1000 + at + useful_s,
        )
    world.job("4", 1, priority=Priority.RESTORE, at=1000 + when)
    world.run(1200)

    urgent_at = next(at for at, name, _ in world.sent if name == "4")
    between = [at for at, _, _ in world.sent if 1000 + when < at < urgent_at]
    assert between == []
    (urgent,) = (done for done in world.done if done.job.meter == "4")
    assert urgent.outcomes[0].reply is not None


@given(cuts=st.sets(st.integers(1, 40)), noise=st.binary(max_size=6))
def test_a_reply_is_the_same_in_however_many_pieces_it_comes(cuts: set[int], noise: bytes) -> None:
    world = make_world("1")
    quiet = noise.translate(bytes(0 if byte in b"?!#" else byte for byte in range(256)))
    stream = quiet + answer(Ask(1, 5), truth(Ask(1, 5)))
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    world.behaviour[1] = lambda _: [(0.1 + n * 0.005, piece) for n, piece in enumerate(pieces)]
    world.job("1", 5)
    world.run(1005)

    outcome = world.done[0].outcomes[0]
    assert outcome.reply is not None
    assert outcome.reply.data == truth(Ask(1, 5))
    assert outcome.tries == 1
