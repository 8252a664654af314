"""``taiqu stop`` and ``taiqu resume``: no cut from now on, and cuts again."""

import sys

import click

from gateway.switching.stop_switch import FILE
from gateway.technician.account_orders import Sender, order
from gateway.technician.letter import tell


@click.command()
@order
@click.option("--reason", required=True, help="Why: it is kept for ever.")
def stop(sender: Sender, reason: str) -> None:
    """Stop all disconnections; supply goes on being restored.  Needs no key at the box.

    Where the gateway does not answer, this works as well, also before it starts:
    sudo touch /var/lib/taiqu/stop
    """
    file = sender.at.config.store_directory / FILE
    try:
        answer = sender.at.order({"name": "stop", "reason": reason}, sender.key, sender.wait_s)
    except click.ClickException:
        click.echo(f"this stops them as well: sudo touch {file}", err=True)
        raise
    status = tell(sender.at, answer, as_json=sender.as_json)
    if answer.last is None:
        click.echo(f"this stops them at once, also before it starts: sudo touch {file}", err=True)
    sys.exit(status)


@click.command()
@order
@click.option("--reason", required=True, help="Why: it is kept for ever.")
def resume(sender: Sender, reason: str) -> None:
    """Take back what was stopped at the box, and with --key what that key stopped.

    A stop by file or switch is taken back there.
    """
    sender.send(name="resume", reason=reason)
