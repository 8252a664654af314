"""``taiqu stop`` and ``taiqu resume``: no cut from now on, and cuts again."""

import click

from gateway.technician.account_orders import Sender, order


@click.command()
@order
@click.option("--reason", required=True, help="Why: it is kept for ever.")
def stop(sender: Sender, reason: str) -> None:
    """Stop all disconnections; supply goes on being restored.  Needs no key at the box.

    Where the gateway does not answer, this works as well, also before it starts:
    sudo touch /var/lib/taiqu/stop
    """
    sender.send(name="stop", reason=reason)


@click.command()
@order
@click.option("--reason", required=True, help="Why: it is kept for ever.")
def resume(sender: Sender, reason: str) -> None:
    """Take back what was stopped at the box, and with --key what that key stopped.

    A stop by file or switch is taken back there.
    """
    sender.send(name="resume", reason=reason)
