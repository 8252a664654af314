"""Stand-ins for modules that libraries import and that the daemon seldom or never uses.

``asyncio``          structlog and pymodbus import it, nobody logs or waits asynchronously: 1.7 MB
``ssl``              needed for brokers with TLS only, by gateway/north/tls.py; with OpenSSL's own
                     hashes, which hashlib does not need, 4.9 MB
``urllib.request``   paho asks it for proxies where a proxy library is installed: 1.0 MB
``pydantic.plugin``  pydantic looks through all that is installed for plugins of its own: 1.4 MB,
                     and what happens to be installed has no business in the daemon

A stand-in loads the real module when somebody takes something from it, so whoever does need it gets
it.  (importlib's LazyLoader would load at the second import already.)
"""

import importlib
import sys
from importlib.util import find_spec
from types import ModuleType


class StandIn(ModuleType):
    """A module that is loaded when it is first used."""

    def __init__(self, name: str, errors: tuple[str, ...]) -> None:
        super().__init__(name)
        for error in errors:
            setattr(
                self, error, type(error, (Exception,), {"__doc__": f"Not raised before {name}."})
            )
        self._errors = errors

    def __getattr__(self, name: str) -> object:
        """What the real module has under ``name``."""
        # The import system looks at these of every module; only a package has a path.
        if name.startswith("__") and name not in ("__path__", "__all__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
            for error in self._errors:
                delattr(self, error)
        return getattr(importlib.import_module(self.__name__), name)


def put(name: str, *errors: str) -> None:
    """Let a stand-in be found by whoever imports ``name`` from now on; call it before they do.

    ``errors`` are exceptions of the module that others name in ``except``.  Nobody can raise them
    before it is loaded, so until then a class that nobody raises stands for each.
    """
    if name in sys.modules:
        return
    stand_in = sys.modules[name] = StandIn(name, errors)
    package, _, own = name.rpartition(".")
    if package:
        setattr(importlib.import_module(package), own, stand_in)


def begin() -> None:
    """Put all of them in place: before the first import of structlog, pymodbus or paho."""
    put("asyncio")
    put("ssl", "SSLWantReadError", "SSLWantWriteError")
    put("urllib.request")
    no_plugins = sys.modules["pydantic.plugin._loader"] = ModuleType("pydantic.plugin._loader")
    no_plugins.get_plugins = tuple  # type: ignore[attr-defined]
    # Without OpenSSL's, hashlib takes Python's own hashes, unless it was built without them.
    if find_spec("_sha256") or find_spec("_sha2"):
        sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
