"""What the configuration says, in the words of the parts it is for."""

from rs3gwd.config import Config
from rs3gwd.config.settings import PresignedV2
from rs3gwd.gateway.limits import Limits
from rs3gwd.gateway.listener import ListenAddress

_PRESIGNED_V2_METHODS = {
    PresignedV2.OFF: frozenset[str](),
    PresignedV2.GET_HEAD: frozenset({"GET", "HEAD"}),
    PresignedV2.ALL: frozenset({"GET", "HEAD", "PUT", "DELETE"}),
}


def presigned_v2_methods(choice: PresignedV2) -> frozenset[str]:
    """The methods for which a presigned SigV2 query is taken."""
    return _PRESIGNED_V2_METHODS[choice]


def address_of(text: str, *, secure: bool) -> ListenAddress:
    """The listening address that `host:port`, `[v6]:port` or `:port` means."""
    host, _, port = text.rpartition(":")
    return ListenAddress(host=host.strip("[]"), port=int(port), secure=secure)


def gateway_limits(config: Config) -> Limits:
    """The bounds of the front."""
    return Limits(
        connections_max=config.max_connections,
        requests_max=config.max_concurrent_requests,
        buffered_bytes_max=config.buffered_bytes_max,
        request_line_bytes_max=config.request_line_bytes_max,
        head_bytes_max=config.header_bytes_max,
        headers_max=config.header_count_max,
        head_seconds=float(config.header_timeout_secs),
        idle_seconds=float(config.idle_timeout_secs),
        patience_seconds=float(config.body_grace_secs),
        bytes_per_second_min=config.body_bytes_per_second_min,
    )
