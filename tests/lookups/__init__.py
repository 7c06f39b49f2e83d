"""Tests of the answers given live."""
