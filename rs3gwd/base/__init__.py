"""Values, errors, ports, codec and limits: what every other package may import. No I/O here."""
