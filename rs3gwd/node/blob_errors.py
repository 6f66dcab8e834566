"""What nodes answer each other about blobs, and how it crosses: errors with stable codes.

ClusterError
  BlobRefused          this node takes no bytes now: its disk is full or failed
  BlobUnknown          this node does not hold the blob
  BlobUnreadable       this node holds the blob, and its bytes are damaged
  BlobStreamBroken     what came over a stream makes no sense; it is dropped
"""

from cluster.base.errors import ClusterError


class BlobRefused(ClusterError):
    """The receiving node has no room, or its disk takes no writes; another may."""

    code = "blob_refused"
    retryable = True
    fault = "disk"


class BlobUnknown(ClusterError):
    """The node asked does not hold the blob (yet, or any more)."""

    code = "blob_unknown"
    fault = "peer"


class BlobUnreadable(ClusterError):
    """The node asked could not read the blob, or not without an error; another may."""

    code = "blob_unreadable"
    fault = "disk"


class BlobStreamBroken(ClusterError):
    """The bytes on a stream are no frames, or not as they were sent."""

    code = "blob_stream_broken"
    fault = "peer"
