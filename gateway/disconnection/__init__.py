"""The right to cut and the duty to restore (停送电).  Pure: no clock, SQL or log."""
