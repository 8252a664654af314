"""The meters' side of the core: what is read, when, and what becomes of it."""
