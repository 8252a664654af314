"""What stands behind transformers is read as the configuration says (倍率)."""

from pathlib import Path

from gateway.acquisition.polling import Polling, Reading
from gateway.config import load
from gateway.events import JobDone, Outcome
from protocols.base import Reply
from tests.rooms import METERS

CONFIG = f"""
[gateway]
name = "tq-1"
profiles = "{METERS}"
[store]
directory = "store"
[mqtt]
brokers = ["mqtt://127.0.0.1:1883"]
[[line]]
name = "east"
port = "/dev/ttyS1"
[[meter]]
asset = "M1"
line = "east"
address = 1
profile = "acrel-dtsd1352"
points = ["voltage_l1n", "voltage_l2n", "voltage_l3n", "current_l1", "current_l2", "current_l3"]
ct_ratio = "1000/5"
pt_ratio = "10000/100"
"""


def test_a_reading_is_what_flows_on_the_primary_side(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG)
    polling = Polling(load(path).meters, (), lambda: 0.0)
    [(line, job)] = polling.due(0.0, 1_800_000_000.0)

    reply = Reply("1", bytes.fromhex("0241 0242 0243 00C7 00C8 0000"))
    outcome = Outcome(request=job.requests[0], reply=reply, taken_at=1_800_000_001.0)
    done = JobDone(line=line, job=job, outcomes=(outcome,), busy_s=0.1, waited_s=0.0)
    (reading,) = (one for one in polling.done(done, 1.0) if isinstance(one, Reading))

    assert {name: value.text() for name, value in reading.values.items()} == {
        "voltage_l1n": "5770.000",
        "voltage_l2n": "5780.000",
        "voltage_l3n": "5790.000",
        "current_l1": "398.0000",
        "current_l2": "400.0000",
        "current_l3": "0.0000",
    }
