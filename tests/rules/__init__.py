"""The rules: their table, and time."""
