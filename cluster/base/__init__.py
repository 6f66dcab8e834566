"""What every part of the cluster library speaks of: node ids and one tree of errors. No I/O."""
