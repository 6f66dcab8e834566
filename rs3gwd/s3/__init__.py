"""The S3 surface: one module per resource, one table of operations."""
