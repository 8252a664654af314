"""The gateway daemon and the tools around it."""

VERSION = "0.1.0"
