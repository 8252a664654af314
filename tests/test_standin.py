import subprocess
import sys

LOADED = "{'asyncio.events', '_ssl', '_hashlib', 'http.client', 'sqlite_utils'} & set(sys.modules)"


def said(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_the_daemon_loads_nothing_of_what_it_does_not_need() -> None:
    loaded = f"import sys, gateway.daemon; print([m for m in {LOADED} if sys.modules[m]])"

    assert said(loaded) == "[]"


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
