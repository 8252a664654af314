"""Meters that prepay by themselves are found out, held, and mirrored."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from gateway.technician.cli import main
from protocols.dlt645 import Frame, encode_frame, find_frame
from tests.charged import DAY_S, FIRST, NIGHT_S, TOTAL, Charged

STATUS = bytes.fromhex("03050004")


def counts_down(world: Charged, asset: str, kind: int) -> None:
    """From now on the meter says so in status word 3, bits 8-9."""

    def change(frame: Frame) -> Frame:
        if frame.data[:4] != STATUS or len(frame.data) != 6:
            return frame
        data = frame.data[:5] + bytes([frame.data[5] & 0xFC | kind])
        return Frame(frame.address, frame.control, data)

    rewrite(world, asset, change)


def rewrite(world: Charged, asset: str, change: Callable[[Frame], Frame]) -> None:
    meter = world.area.meters[asset].meter
    honest: Callable[[Any, float], bytes | None] = type(meter).reply.__get__(meter)

    def reply(request: Any, now: float) -> bytes | None:
        answer: bytes | None = honest(request, now)
        if not answer:
            return answer
        frame, _ = find_frame(answer)
        assert isinstance(frame, Frame)
        return encode_frame(change(frame))

    meter.reply = reply  # type: ignore[method-assign]


def test_no_account_is_charged_for_a_meter_that_prepays(tmp_path: Path) -> None:
    world = Charged(tmp_path, {"asset": "M0", "prepays": "money"}, {"asset": "M1"})
    world.run(3600)
    assert world.open("1001", "M0").stage == "confirmed", "nobody has asked the meter yet"
    assert world.open("1002", "M1").stage == "confirmed"
    world.run(NIGHT_S + DAY_S)

    assert world.sum("1001") == 0
    assert world.charged_to("1002") == FIRST + timedelta(days=1)
    [told] = world.told("meter_prepays")
    assert told["meter"] == "M0"
    assert "account 1001 is not charged" in told["detail"]
    assert {m: one.kind for m, one in world.facts().prepays().items()} == {
        "M0": "money",
        "M1": "none",
    }


def test_an_account_of_a_meter_known_to_prepay_can_only_be_a_mirror(tmp_path: Path) -> None:
    world = Charged(tmp_path, {"asset": "M0", "prepays": "energy"})
    world.run(3600)
    assert world.open("1001", "M0", mode="mirror").stage == "confirmed"
    world.run(600)
    assert not world.told("meter_prepays"), "nobody is charged"
    refused = world.order("account.change", account="1001", version=1, mode="postpay")
    assert (refused.stage, "close it and open another" in refused.reason) == ("refused", True)
    other = world.open("1002", "M0")
    assert (other.stage, "prepays by itself" in other.reason) == ("refused", True)


def test_what_a_mirrored_meter_has_left_is_read_daily_shown_and_not_charged(
    tmp_path: Path,
) -> None:
    world = Charged(tmp_path, {"asset": "M0", "prepays": "money"})
    world.run(3600)
    world.open("1001", "M0", mode="mirror")
    world.run(NIGHT_S + 2 * DAY_S)

    assert world.sum("1001") == 0
    left = world.facts().balance("M0")
    assert left.keys() == {"balance", "balance_overdraft"}
    told = [
        reading
        for _, topic, body in world.broker.arrived
        if topic.endswith("/readings")
        for reading in json.loads(body)["readings"]
        if "balance" in reading["values"]
    ]
    assert len(told) == 4, "at once, and after each midnight"
    assert told[-1]["values"]["balance"] == left["balance"][0]

    world.core._recorder.flush(0.0, live=False)
    shown = CliRunner().invoke(
        main, ["account", "show", "1001", "--config", str(world.config.path)]
    )
    assert "M0 counts down money, not charged here" in shown.output
    assert f"balance {left['balance'][0]} yuan, read 2026-01-0" in shown.output


def test_a_meter_that_begins_to_prepay_is_held_until_it_ends_or_is_mirrored(
    tmp_path: Path,
) -> None:
    world = Charged(tmp_path, {"asset": "M0"}, {"asset": "M1"})
    world.run(3600)
    world.open("1001", "M0")
    world.open("1002", "M1")
    world.run(NIGHT_S)
    for asset in ("M0", "M1"):
        counts_down(world, asset, 2)
    world.run(3 * DAY_S)
    held = FIRST + timedelta(days=1)
    assert world.charged_to("1001") == world.charged_to("1002") == held
    charged = world.sum("1001")
    ruled = world.order(
        "reading.rule",
        meter="M0",
        day=FIRST.isoformat(),
        action="accept",
        reason="looked at",
    )
    assert ruled.stage == "confirmed"
    world.run(3600)
    assert world.sum("1001") == charged, "what is derived again ends where it was held"
    assert world.charged_to("1001") == held

    version = world.prepaid.accounts.current("1002").version
    assert world.order("account.close", account="1002", day=held.isoformat()).stage == "refused"
    changed = world.order("account.change", account="1002", version=version, mode="mirror")
    assert changed.stage == "confirmed", changed
    counts_down(world, "M0", 0)
    world.run(DAY_S)
    assert len(world.told("meter_prepays")) == 2
    [over] = world.told("meter_prepays_no_more")
    assert "account 1001 is charged again" in over["detail"]
    world.run(3600)
    assert world.charged_to("1001") == FIRST + timedelta(days=4)
    assert world.charged_to("1002") == held


def test_one_damaged_status_word_holds_nobody(tmp_path: Path) -> None:
    world = Charged(tmp_path, {"asset": "M0"})
    world.run(3600)
    counts_down(world, "M0", 2)
    seen: list[Frame] = []

    def once(frame: Frame) -> Frame:
        if frame.data[:4] == STATUS and not seen:
            seen.append(frame)
            return Frame(frame.address, frame.control, frame.data[:5] + b"\x02")
        return frame

    rewrite(world, "M0", once)
    world.open("1001", "M0")
    world.run(NIGHT_S)
    assert seen
    assert world.facts().prepays()["M0"].kind == "none"
    assert world.charged_to("1001") == FIRST


def test_a_model_that_does_not_say_is_charged(tmp_path: Path) -> None:
    table = {"asset": "M0", "refuses": ["prepay_mode"]}
    world = Charged(tmp_path, table)
    world.run(3600)
    world.open("1001", "M0")
    world.run(NIGHT_S)
    assert world.facts().prepays()["M0"].kind == "unknown"
    assert world.charged_to("1001") == FIRST
    assert TOTAL in world.prepaid.accounts.current("1001").meterings[0].start
