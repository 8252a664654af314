"""Money (预付费): tariffs, charges, accounts, the journal's rules.  Pure: no clock, SQL or log."""
