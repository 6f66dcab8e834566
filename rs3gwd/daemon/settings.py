"""What the configuration says, in the words of the parts it is for."""

from rs3gwd.base.records import EncryptionKind
from rs3gwd.config import Config
from rs3gwd.config.settings import MIB, DefaultEncryption, PresignedV2
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.listener import ListenAddress

_PRESIGNED_V2_METHODS = {
    PresignedV2.OFF: frozenset[str](),
    PresignedV2.GET_HEAD: frozenset({"GET", "HEAD"}),
    PresignedV2.ALL: frozenset({"GET", "HEAD", "PUT", "DELETE"}),
}


BUFFERED_BYTES_MIN = 16 * MIB
"""What a process gets of the node's memory for bodies at the least, however many there are: two of
the largest steps of an upload, four requests of a busy client."""


def presigned_v2_methods(choice: PresignedV2) -> frozenset[str]:
    """The methods for which a presigned SigV2 query is taken."""
    return _PRESIGNED_V2_METHODS[choice]


def default_encryption(choice: DefaultEncryption) -> EncryptionKind | None:
    """How objects are encrypted whose writer and bucket do not say; None for not at all."""
    return EncryptionKind.SSE_S3 if choice is DefaultEncryption.AES256 else None


def address_of(text: str, *, secure: bool) -> ListenAddress:
    """The listening address that `host:port`, `[v6]:port` or `:port` means."""
    host, _, port = text.rpartition(":")
    return ListenAddress(host=host.strip("[]"), port=int(port), secure=secure)


def buffered_bytes_share(config: Config, *, sharers: int) -> int:
    """The memory for bodies that one of so many processes may hold."""
    return max(config.buffered_bytes_max // sharers, BUFFERED_BYTES_MIN)


def gateway_limits(config: Config, *, sharers: int = 1) -> Limits:
    """The bounds of the front of one process, when `sharers` divide the node's among them."""
    return Limits(
        connections_max=-(-config.max_connections // sharers),
        requests_max=-(-config.max_concurrent_requests // sharers),
        buffered_bytes_max=buffered_bytes_share(config, sharers=sharers),
        request_line_bytes_max=config.request_line_bytes_max,
        head_bytes_max=config.header_bytes_max,
        headers_max=config.header_count_max,
        head_seconds=float(config.header_timeout_secs),
        idle_seconds=float(config.idle_timeout_secs),
        patience_seconds=float(config.body_grace_secs),
        bytes_per_second_min=config.body_bytes_per_second_min,
    )
