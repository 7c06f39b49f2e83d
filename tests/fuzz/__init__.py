"""Fuzzing: noise, guided by what the code does with it. ``make fuzz``, or ``python -m tests.fuzz [SECONDS]``."""
