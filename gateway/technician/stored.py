"""The daemon's file as a command reads it: while the daemon runs, without disturbing it."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from gateway.config_tables import GatewayTable
from gateway.store.connection import Connection
from gateway.store.database import ReadOnly
from gateway.store.faults import StoreError
from gateway.store.upgrade import is_older
from gateway.technician.check import load_config
from gateway.technician.cli import config_option


def store_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which file: ``--config``, or ``--store`` for a copy of it."""
    option = click.option(
        "--store",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="A database file, instead of the one that the configuration names.",
    )
    return config_option(option(command))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[ReadOnly]:
    """The daemon's file.  Whatever is wrong with it ends the command with one line."""
    try:
        path.stat()
        if not os.access(path, os.R_OK):
            raise _forbidden(path)
        with ReadOnly(path) as file:
            _refuse_older(file)
            yield file
    except FileNotFoundError as error:
        raise click.ClickException(
            f"{path}: not there; the gateway makes it when it starts: systemctl start taiqu"
        ) from error
    except PermissionError as error:
        raise _forbidden(path) from error
    except StoreError as error:
        raise click.ClickException(str(error)) from error


def _forbidden(path: Path) -> click.ClickException:
    return click.ClickException(
        f"{path}: you may not read it; run this as root, or join the group that owns it (sudo"
        " usermod -aG taiqu NAME) and log in again"
    )


def _refuse_older(file: Connection) -> None:
    if is_older(file):
        raise click.ClickException(
            f"{file.path}: an older taiqu wrote it, or another program; start the gateway anew,"
            " which brings it up to date"
        )


@contextlib.contextmanager
def opened(config: Path, store: Path | None) -> Iterator[tuple[ReadOnly, ZoneInfo]]:
    """The file as it is at one moment, and the time zone of its days.

    Of ``store`` the zone is not known: the usual one.
    """
    zone = str(GatewayTable.model_fields["timezone"].default)
    if store is None:
        loaded = load_config(config)
        store, zone = loaded.database, loaded.gateway.timezone
    with reading(store) as file, file.snapshot():
        yield file, ZoneInfo(zone)
