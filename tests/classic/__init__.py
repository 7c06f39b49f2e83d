"""The classic's configuration, command line and words."""
