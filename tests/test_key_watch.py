"""The words for what has become of the keys; that they count is shown in test_switching_persons."""

from gateway.key_watch import difference
from gateway.north.signatures import NO_KEYS, Role
from tests.keyring import MONEY, known, ring
from tests.switching_orders import ASKER, CHIEF


def test_what_has_become_of_which_key_is_named() -> None:
    before = ring(known(MONEY, Role.MONEY), known(ASKER, Role.REQUEST), known(CHIEF, Role.APPROVE))
    after = ring(known(MONEY, Role.MONEY, revoked=True), known(ASKER, Role.REQUEST, Role.APPROVE))
    assert difference(before, before) == ""
    said = difference(before, after)
    assert said == f"revoked: {MONEY.id}; removed: chief; changed: asker"
    assert difference(NO_KEYS, ring(known(CHIEF, Role.APPROVE))) == "added: chief"
