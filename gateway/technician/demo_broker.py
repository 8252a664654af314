"""The demo's MQTT broker: mosquitto where it is installed, else amqtt from PyPI.

``python -m gateway.technician.demo_broker PORT`` is amqtt as a process of its own.

Neither asks for a password or survives its own end: good for a demo on this machine, nothing more.
"""

import asyncio
import importlib.util
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
MOSQUITTO_PLACES = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where packages put it; often not in a person's PATH."""


class NoBrokerError(Exception):
    """There is no broker on this machine."""

    def __init__(self) -> None:
        super().__init__(
            "no MQTT broker found; install one with: sudo apt-get install mosquitto,"
            " or: pip install 'taiqu[demo]'"
        )


def free_port() -> int:
    """A TCP port on which nobody listens at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def available() -> list[str]:
    """The brokers of this machine, the better one first."""
    there = {
        "mosquitto": _mosquitto() is not None,
        "amqtt": importlib.util.find_spec("amqtt") is not None,
    }
    return [name for name, here in there.items() if here]


def choose(there: Sequence[str], wanted: str | None = None) -> str:
    """``wanted``, or the first one that is ``there``.  Raises NoBrokerError."""
    for name in there:
        if wanted in (None, name):
            return name
    raise NoBrokerError


def command(name: str, directory: Path, port: int) -> list[str]:
    """How to start the broker ``name`` on ``port``; its settings go into ``directory``."""
    if name == "amqtt":
        return [sys.executable, "-m", "gateway.technician.demo_broker", str(port)]
    settings = directory / "mosquitto.conf"
    settings.write_text(
        f"listener {port} {HOST}\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nconnection_messages false\n"
    )
    return [str(_mosquitto()), "-c", str(settings)]


def _mosquitto() -> str | None:
    return shutil.which("mosquitto", path=os.pathsep.join([os.defpath, *MOSQUITTO_PLACES]))


async def _serve(port: int) -> None:
    from amqtt.broker import Broker  # noqa: PLC0415 - an extra, only here where it is used

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
        "plugins": {
            "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
        },
    }
    broker = Broker(settings)
    await broker.start()
    await stopped.wait()
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
