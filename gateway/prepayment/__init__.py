"""Money and the right to cut (预付费).  Pure: no clock, no database, no log."""
