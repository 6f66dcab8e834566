"""rs3gwd: the daemon of a clustered, S3-compatible object store."""

__version__ = "0.1.0"
