"""What is decided about the bytes of objects: when a write is enough, whom to read from.

Pure cores: events and times in, decisions out. The driver is `rs3gwd.node.blob_fanout` and
`rs3gwd.node.blob_reading`; the theory is in docs/understand/quorum.md.

    writing    when enough replicas have synced, when it is hopeless, who is owed the bytes
    reading    whom to read from, when to ask a second one, where to go on after a failure
    latencies  how long each node takes
    hedging    how many second questions may be asked
    hints      how much is owed to which node, and when it is tried again
"""
