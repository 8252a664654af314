"""The gateway daemon and the tools around it."""

from gateway import standin

VERSION = "0.4.0"

# Here, because it must come before any import of the libraries concerned.
standin.begin()
