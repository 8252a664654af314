"""The gateway daemon and the tools around it."""

VERSION = "0.2.0"
