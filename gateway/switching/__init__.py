"""Relays and disconnections as the core sees them: rooms that ask gateway/disconnection."""
