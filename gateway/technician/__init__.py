"""The command line: what a technician types."""
