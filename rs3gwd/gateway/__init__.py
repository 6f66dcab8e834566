"""The network surfaces: HTTP/1.1 for S3 on httptools, everything else on hypercorn."""
