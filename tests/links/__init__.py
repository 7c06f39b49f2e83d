"""Tests of the links of the chain."""
