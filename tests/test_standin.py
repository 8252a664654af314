import subprocess
import sys
from pathlib import Path

from tests.rooms import write_config

HEAVY = {"asyncio.events", "_ssl", "_hashlib", "http.client", "sqlite_utils", "importlib.metadata"}
LOADED = f"{HEAVY} & set(sys.modules)"


def said(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_the_daemon_loads_nothing_of_what_it_does_not_need() -> None:
    loaded = f"import sys, gateway.daemon; print([m for m in {LOADED} if sys.modules[m]])"

    assert said(loaded) == "[]"


def test_a_gateway_without_money_loads_none_of_its_rooms(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    rooms = "('gateway.' + room for room in ('config_p', 'config_s', 'prepayment', 'money',"
    rooms += " 'disconnection', 'switching', 'north.contract_'))"
    code = (
        "import sys; from pathlib import Path; import gateway.daemon; from gateway.config import"
        f" load; load(Path({str(config)!r})); rooms = tuple({rooms});"
        " print([name for name in sys.modules if name.startswith(rooms)])"
    )

    assert said(code) == "[]"


def test_whoever_needs_it_gets_the_real_module() -> None:
    whole = (
        "import gateway, asyncio, sys\n"
        "async def answer(): await asyncio.sleep(0); return 42\n"
        "print(asyncio.run(answer()), sys.modules['asyncio'] is asyncio)\n"
        "import asyncio\n"
        "print(sys.modules['asyncio'] is asyncio)"
    )
    part = "import gateway; from asyncio import run, Queue; print(run.__module__, Queue.__name__)"
    below = "import gateway, asyncio.subprocess; print(asyncio.subprocess.PIPE)"
    every = "import gateway\nfrom asyncio import *\nprint(sleep.__module__)"
    inside = "import gateway, urllib.request; print(urllib.request.Request.__module__)"

    assert said(whole).splitlines() == ["42 False", "True"]
    assert said(part) == "asyncio.runners Queue"
    assert said(below) == "-1"
    assert said(every) == "asyncio.tasks"
    assert said(inside) == "urllib.request"


def test_an_error_can_be_named_before_its_module_is_loaded() -> None:
    named = (
        "import gateway, ssl, sys\n"
        "try: raise BlockingIOError\n"
        "except ssl.SSLWantReadError: print('ssl')\n"
        "except BlockingIOError: print('plain', '_ssl' in sys.modules)\n"
        "one = ssl.create_default_context()\n"
        "bios = ssl.MemoryBIO(), ssl.MemoryBIO()\n"
        "try: one.wrap_bio(*bios, server_hostname='x').do_handshake()\n"
        "except ssl.SSLWantReadError: print('TLS')"
    )

    assert said(named).splitlines() == ["plain False", "TLS"]


def test_the_hashes_are_the_same_without_openssl() -> None:
    code = (
        "import hashlib, hmac; print(hashlib.sha256(b'x').hexdigest(), hashlib.blake2b(b'x')"
        ".hexdigest(), hmac.new(b'k', b'x', 'sha256').hexdigest())"
    )

    assert said(f"import gateway; {code}") == said(code)
