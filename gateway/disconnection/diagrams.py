"""The page docs/switching.md: both procedures as diagrams, printed from their tables.

``make docs`` writes it; a test keeps it equal.
"""

from gateway.disconnection import case, relay_table

PAGE = """\
# Switching: the right to cut and the duty to restore

Printed from the tables in `gateway/disconnection/case.py` and `relay_table.py` by `make docs`.
What a head-end does in each state stands in [disconnection.md](disconnection.md).

## Disconnection (停电流程), one case for each account

```mermaid
{disconnection}
```

A cancellation before `sent` switches nothing; later it restores the supply.

## The relay (继电器), one for each meter

```mermaid
{relay}
```
"""


def page() -> str:
    """The whole page, in Markdown."""
    return PAGE.format(disconnection=case.diagram(), relay=relay_table.diagram())


if __name__ == "__main__":
    print(page(), end="")
