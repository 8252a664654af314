"""Money as the core sees it: the rooms that keep books and ask the rules of gateway/prepayment."""
