"""Configurations of gateways with prepayment and one line, for the rigs of money and switching."""

from simulators.area import PROFILES

HOME = """
[[policy]]
name = "home"
alert_1 = "20.00"
alert_2 = "10.00"
hysteresis = "2.00"
overdraft = "5.00"
close_allowed = "5.00"
"""
KIND = """
[[policy]]
name = "kind"
alert_1 = "20.00"
alert_2 = "10.00"
emergency = "10.00"
emergency_automatic = true
"""


def place(name: str, *more: str) -> str:
    """The file of a gateway; ``more`` goes on in its table of prepayment, then has its own."""
    return f"""
[gateway]
name = "{name}"
profiles = "{PROFILES}"
run_directory = "run"
[store]
directory = "store"
ballast_mib = 1
[mqtt]
brokers = ["mqtt://one:1883"]
[prepayment]
tariffs = "tariffs"
{"".join(more)}
[[line]]
name = "east"
port = "socket://127.0.0.1:7001"
"""
