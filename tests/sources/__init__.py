"""Tests of the places where log lines come from."""
