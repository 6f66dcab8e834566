"""Who belongs to a cluster: its certificates, its join tokens, and what is said when a node joins.

Pure: time and randomness are arguments, and nothing is read or sent. `cluster.drivers.authority`
does that. The one foreign package here is `cryptography`, whose key generation draws on the
operating system's randomness by itself.
"""
