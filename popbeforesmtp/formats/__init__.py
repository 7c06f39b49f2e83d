"""What a login looks like: one TOML file per server family, read by ``_engine.py``."""
