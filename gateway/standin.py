"""Stand-ins for modules that libraries import and that nothing here uses.

structlog and pymodbus import asyncio, whether or not anybody logs or waits asynchronously: 34
modules, 1.7 MB for nothing.  A stand-in becomes the real module when somebody takes something from
it, so whoever does need it gets it.  (importlib's LazyLoader would load at the second import.)
"""

import importlib
import sys
from types import ModuleType


class StandIn(ModuleType):
    """A module that is loaded when it is first used."""

    def __getattr__(self, name: str) -> object:
        """What the real module has under ``name``."""
        # The import system looks at these of every module; only a package has a path.
        if name.startswith("__") and name not in ("__path__", "__all__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def put(name: str) -> None:
    """Let a stand-in be found by whoever imports ``name`` from now on; call it before they do."""
    sys.modules.setdefault(name, StandIn(name))
