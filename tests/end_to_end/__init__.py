"""The whole program with real servers; run through ``enter``."""
