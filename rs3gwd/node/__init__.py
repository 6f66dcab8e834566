"""The engine as a store: what the S3 surface calls, on one node or on a cluster."""
