"""The storage engine of one node: LMDB metadata, append-only segments, group commit."""
