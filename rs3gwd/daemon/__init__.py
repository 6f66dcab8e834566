"""The daemon: the only place where parts are made and joined."""
