"""Sessions: credentials for a time, whose token says whose they are. Pure."""
