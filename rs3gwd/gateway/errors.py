"""The errors of the network front.

    GatewayError
    |-- HttpRefusal    the bytes of the client are not a request that we serve (caller, permanent)
    |-- PeerGone       the client has closed or reset its connection (peer)
    `-- Interrupted    our own clock or drain ended a wait for the client (peer too slow)

The first is answered with an S3 error body and closes the connection, since after a refused head
nobody knows where the next request begins. The others never leave the gateway. A broken request
body is `rs3gwd.base.http.RequestBodyError`, which handlers see.
"""

from rs3gwd.base.errors import Fault, Rs3gwError


class GatewayError(Rs3gwError):
    """The root of the front's own errors."""


class HttpRefusal(GatewayError):
    """A head is refused: `status` and `api_code` go to the client and the connection closes."""

    fault = Fault.CALLER

    def __init__(self, status: int, api_code: str, message: str) -> None:
        super().__init__(f"{status} {api_code}: {message}")
        self.status = status
        self.api_code = api_code
        self.message = message


class PeerGone(GatewayError):
    """The client has closed or reset the connection; nothing more can be sent."""

    fault = Fault.PEER


class Interrupted(GatewayError):
    """A wait for the client was ended by the sweep (too slow) or by the drain."""

    fault = Fault.PEER
    retryable = True
