"""The configuration: one table of options, read from file, environment and flags."""
