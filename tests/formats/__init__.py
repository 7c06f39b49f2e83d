"""Tests of the formats and of the engine that reads them."""
