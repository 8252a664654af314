"""Meters, lines, an area and a head-end that do not exist.  Imports protocols only."""
