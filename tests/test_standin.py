import subprocess
import sys


def said(code: str) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_the_daemon_does_not_load_asyncio() -> None:
    loaded = "import sys, gateway.daemon; print('asyncio.events' in sys.modules)"

    assert said(loaded) == "False"


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

    assert said(whole).splitlines() == ["42 False", "True"]
    assert said(part) == "asyncio.runners Queue"
    assert said(below) == "-1"
    assert said(every) == "asyncio.tasks"
