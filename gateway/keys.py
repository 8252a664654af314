"""Key files: whose signature counts here (``keys.toml``), and private keys.

    [[key]]
    id = "ops-2026"
    public = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    roles = ["money", "account"]
    not_before = 2026-01-01       # days, in UTC; both may be left out
    not_after = 2027-12-31
    revoked = false

While the gateway runs the file is looked at again: gateway/key_watch.py.

A private key is a file of its own, mode 0600: a line ``id: ops-2026``, then PKCS #8 as PEM, which
``openssl pkey`` reads, too.

Not supported: private keys under a password, keys in a token or a secure element.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from gateway.config_reader import ConfigError, Reader
from gateway.config_tables import Name, Table
from gateway.north.signatures import KEY_BYTES, Key, Keys, Role, Signer, from_text, new_seed

_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
"""PKCS #8 of an Ed25519 key without attributes (RFC 8410 §7): this, then the 32 bytes."""
_ID = "[A-Za-z0-9-]{1,32}"
_PRIVATE = re.compile(
    rf"\s*id:[ \t]*({_ID})\s+"
    r"-----BEGIN PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----\s*"
)
_OTHERS_WRITE = 0o022
_OTHERS_READ = 0o077
_ROLES = ", ".join(f'"{role}"' for role in Role)


class KeyFileError(Exception):
    """A private key cannot be read or written.  The message says why and what to do."""


class KeyTable(Table):
    """``[[key]]``: a public key and what it may be used for."""

    id: Name
    public: str = Field(description="the public key, 32 bytes in base64: taiqu key show prints it")
    roles: tuple[Annotated[Role, Field(strict=False)], ...] = Field(
        strict=False, min_length=1, description=f"a list of roles out of {_ROLES}"
    )
    not_before: date | None = Field(None, description="the first day, like 2026-01-01, no quotes")
    not_after: date | None = Field(None, description="the last day, like 2027-12-31, no quotes")
    revoked: bool = Field(default=False, description="true once it must not be used any more")


def load_keys(path: Path) -> tuple[Keys, bytes]:
    """Read and check a key file.  Returns the keys and the file as it is.

    Raises ConfigError with every problem in it.
    """
    reader = Reader(path)
    data = reader.toml()
    reader.no_others(data, ("key",))
    rows = reader.rows(KeyTable, data, "key")
    if path.stat().st_mode & _OTHERS_WRITE:
        reader.say("file", f"others may write it, and so add keys; chmod go-w {path}")
    keys: dict[str, Key] = {}
    seen: dict[bytes, str] = {}
    for n, row in rows:
        public = _public(reader, n, row)
        if row.id in keys:
            reader.say(f"key[{n}].id", f"found {row.id!r}: used twice; give each key its own")
        if public in seen:
            reader.say(f"key[{n}].public", f"the same key as {seen[public]}; remove one of them")
        if row.not_before and row.not_after and row.not_after < row.not_before:
            reader.say(f"key[{n}].not_after", f"found {row.not_after}: before not_before")
        seen[public] = row.id
        keys[row.id] = Key(
            id=row.id,
            public=public,
            roles=frozenset(row.roles),
            not_before=row.not_before,
            not_after=row.not_after,
            revoked=row.revoked,
        )
    if reader.problems:
        raise ConfigError(reader.problems)
    return Keys(MappingProxyType(keys)), reader.raw


def _public(reader: Reader, n: int, row: KeyTable) -> bytes:
    public = from_text(row.public) or b""
    if len(public) != KEY_BYTES:
        reader.say(
            f"key[{n}].public",
            f"found {row.public[:60]!r}; write the public key, 32 bytes in base64:"
            " taiqu key show prints it",
        )
    return public or row.public.encode()


def read_private(path: Path) -> Signer:
    """The private key in a file.  Raises KeyFileError."""
    try:
        mode = path.stat().st_mode
        content = path.read_text(encoding="ascii")
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path}: not a key file; make one with: taiqu key new") from error
    if mode & _OTHERS_READ:
        raise KeyFileError(f"{path}: others may read this private key; chmod 600 {path}")
    found = _PRIVATE.fullmatch(content)
    der = _decoded(found[2]) if found else b""
    if not found or len(der) != len(_PREFIX) + KEY_BYTES or not der.startswith(_PREFIX):
        raise KeyFileError(
            f"{path}: not a private Ed25519 key with a line 'id: NAME' above it; make one with:"
            " taiqu key new"
        )
    return Signer(found[1], der[len(_PREFIX) :])


def _decoded(body: str) -> bytes:
    try:
        return base64.b64decode(body)
    except binascii.Error:
        return b""


def write_private(path: Path, signer: Signer) -> None:
    """Write a private key into a new file, mode 0600; it is on flash when this returns.

    Raises KeyFileError, also if the file is there already.
    """
    if not re.fullmatch(_ID, signer.id):
        raise KeyFileError(f"{signer.id!r} is no name of a key: 1 to 32 letters, digits or hyphens")
    body = base64.b64encode(_PREFIX + signer.seed).decode()
    content = f"id: {signer.id}\n-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: is there already; a key is never overwritten") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be written: {error.strerror}") from error


def own_key(path: Path, id_: str, seed: Callable[[], bytes] = new_seed) -> Signer:
    """The gateway's own key at ``path``; made at its first start.

    It signs the daily digest.  A new one means that the head-end must learn the new public key,
    which inventory and hello carry.  Raises KeyFileError.
    """
    if path.exists():
        return read_private(path)
    # Made aside and then named, so that a power cut leaves a whole key or none.
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    signer = Signer(id_, seed())
    write_private(draft, signer)
    draft.rename(path)
    return signer


def key_table(signer: Signer, roles: tuple[str, ...]) -> str:
    """What goes into the gateways' ``keys.toml`` for this key."""
    given = ", ".join(f'"{role}"' for role in roles)
    return f'[[key]]\nid = "{signer.id}"\npublic = "{signer.public()}"\nroles = [{given}]'
