"""``taiqu key``: make a key to sign orders with, and show what a gateway must know of it."""

from pathlib import Path

import click
from tabulate import tabulate

from gateway.config_reader import ConfigError
from gateway.keys import KeyFileError, key_table, load_keys, read_private, write_private
from gateway.north.signatures import Role, Signer, new_seed, text
from gateway.technician.check import complain

ROLES = [role.value for role in Role]


@click.group()
def key() -> None:
    """Make and show keys: whose orders about money a gateway carries out."""


@key.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    default=["money"],
    show_default=True,
    help="What it may be used for; give it several times.",
)
def new(name: str, file: Path, roles: tuple[str, ...]) -> None:
    """Make the key NAME and write its private half into FILE (mode 0600).

    What is printed goes into keys.toml on every gateway that is to obey it.
    """
    signer = Signer(name, new_seed())
    try:
        write_private(file, signer)
    except KeyFileError as error:
        raise click.ClickException(str(error)) from error
    click.echo(key_table(signer, roles))


@key.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def show(file: Path) -> None:
    """Show the public half of a private key, or the keys of a keys.toml.

    Exit status 2 for a keys.toml that cannot be used.
    """
    if file.suffix != ".toml":
        try:
            signer = read_private(file)
        except KeyFileError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f'id = "{signer.id}"\npublic = "{signer.public()}"')
        return
    try:
        keys, _ = load_keys(file)
    except ConfigError as error:
        complain(error.problems)
    rows = [
        (
            one.id,
            ", ".join(sorted(one.roles)),
            str(one.not_before or "ever"),
            str(one.not_after or "for ever"),
            "revoked" if one.revoked else "",
            text(one.public),
        )
        for one in keys.of.values()
    ]
    headers = ("key", "roles", "from", "to", "", "public")
    click.echo(tabulate(rows, headers=headers, disable_numparse=True))
