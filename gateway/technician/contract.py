"""``taiqu contract``: every message between gateway and head-end, as JSON Schema and AsyncAPI."""

from pathlib import Path

import click

from gateway.north.schemas import documents


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the documents into DIR instead of printing them.",
)
def contract(directory: Path | None) -> None:
    """Print the schemas of all messages, or write each into a file of its own."""
    for name, text in documents().items():
        if directory is None:
            click.echo(f"--- {name}\n{text}")
            continue
        target = directory / name.removeprefix("docs/")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise click.ClickException(f"{target}: cannot be written: {error.strerror}") from error
        click.echo(target)
