"""The command line: what a technician types on the gateway, or on a laptop beside a meter.

Each command is a module of its own, imported when it is called: ``taiqu --help`` has to answer at
once on a slow concentrator.

Exit status: 0 done, 1 failed, 2 used wrongly.  Answers go to stdout, complaints to stderr.

Nothing here talks to a running daemon: what it does is read from what it writes down, and orders
are put into its letterbox.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

import click

COMMANDS = {
    "demo": ("gateway.technician.demo:demo", "Show it all: meters, gateway, broker, head-end."),
    "run": ("gateway.technician.cli:run", "Run the gateway with a configuration."),
    "check": ("gateway.technician.check:check", "Check a configuration; open no port."),
    "status": ("gateway.technician.status:status", "Show what the running gateway is doing."),
    "read": ("gateway.technician.read:read", "Read one meter directly, without the gateway."),
    "audit": ("gateway.technician.audit:audit", "Verify the journal of money and energy."),
    "journal": ("gateway.technician.journal:journal", "Write the journal out for an auditor."),
    "decode": ("gateway.technician.decode:decode", "Explain a frame byte by byte."),
    "tariff": ("gateway.technician.tariff:tariff", "Check or show a tariff file."),
    "rate": ("gateway.technician.rate:rate", "Reckon a bill, line by line."),
    "account": ("gateway.technician.account:account", "Show accounts; open, change, top them up."),
    "voucher": ("gateway.technician.voucher:voucher", "Read an offline voucher; issue one."),
    "relay": ("gateway.technician.relay:relay", "Show relays; trip, close and protect them."),
    "disconnect": ("gateway.technician.disconnect:disconnect", "Who is disconnected, and why."),
    "stop": ("gateway.technician.stop:stop", "No disconnection from now on."),
    "resume": ("gateway.technician.stop:resume", "Disconnections again."),
    "key": ("gateway.technician.key:key", "Make and show keys: whose orders about money count."),
    "simulate": ("simulators.__main__:main", "Be a meter, or a whole area of them."),
    "contract": ("gateway.technician.contract:contract", "Print the schemas of all messages."),
}
"""Name: where it is, and what it does in one line."""

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default="/etc/taiqu/gateway.toml",
    envvar="TAIQU_CONFIG",
    show_default=True,
    show_envvar=True,
    metavar="FILE",
    help="The gateway's configuration.",
)


class _Commands(click.Group):
    """A group that imports a command only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="taiqu", message="taiqu %(version)s")
def main() -> None:
    """Taiqu: read electricity meters over RS-485 and deliver what they say over MQTT.

    Begin with "taiqu demo", which needs no meter.
    """


@click.command()
@config_option
def run(path: Path) -> None:
    """Run the gateway in the foreground until it is told to stop (Ctrl-C or SIGTERM).

    This process becomes the gateway: a supervisor sees one process, with one identity.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "gateway.daemon", "--config", str(path)])  # noqa: S606
