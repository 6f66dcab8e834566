"""What the daemon says of itself: logs, the access log, metrics and the notices to systemd."""
