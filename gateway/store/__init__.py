"""The SQLite file of the daemon."""
