"""The write-ahead log of one node, shared by all its Raft groups. Blocking, over a `Disk` port.

    records     the bytes of segments, batches and frames
    scan        what a segment holds: whole batches, a torn end, or rot
    group_log   one group's entries, as a core reads them
    wal         the log itself: open, write, cut, close
    identity    whose disk this is

The byte tables, write order and read order are in FORMAT.md.
"""
