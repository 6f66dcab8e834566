"""What operators see of a cluster's authority and may ask of it; part of the words of
`rs3gwd.base.cluster_admin`, and described in `docs/operate/admin-api.md` from here.

What it is not: certificates and keys are no part of it, only what is said of them.
"""

from typing import Annotated, Protocol

from msgspec import Meta, Struct

from rs3gwd.base.errors import StoreError


def _note(text: str) -> Meta:
    return Meta(description=text)


class AuthorityRefused(StoreError):
    """It cannot be as asked for; the message says why, and what to do."""

    code = "AuthorityRefused"


class RootPicture(Struct, frozen=True):
    """A root that nodes trust."""

    name: Annotated[str, _note("its key's identifier, in hex; certificates name it")]
    sha256: Annotated[str, _note("fingerprint of its certificate, in hex")]
    not_after_ms: Annotated[int, _note("its end, in milliseconds since 1970")]
    is_issuer: Annotated[bool, _note("whether certificates are issued by it now")]


class CertificatePicture(Struct, frozen=True):
    """A certificate that was issued and has not expired."""

    serial: Annotated[str, _note("its serial number, in hex")]
    node: Annotated[int, _note("number of its node")]
    not_after_ms: Annotated[int, _note("its end, in milliseconds since 1970")]
    authority: Annotated[str, _note("`name` of the root that issued it")]
    revoked_ms: Annotated[int, _note("when it was revoked; 0 if it was not")]
    is_trusted: Annotated[bool, _note("whether a node with it is let in")]


class AuthorityPicture(Struct, frozen=True):
    """The cluster's authority, and how far a change of it is."""

    phase: Annotated[
        str,
        _note(
            "`steady`, or what every node does now: `trusting` the new root too, `renewing` its "
            "certificate, `relinking` its connections, `forgetting` the old root"
        ),
    ]
    change: Annotated[int, _note("how many changes of the authority were begun")]
    keeper: Annotated[int, _note("the node that made the newest root's key; 0: it never changed")]
    waited_for: Annotated[list[int], _note("nodes that have yet to do this")]
    done: Annotated[int, _note("how many nodes have done this")]
    left_behind: Annotated[list[int], _note("nodes that are not waited for in this change")]
    roots: Annotated[list[RootPicture], _note("what nodes trust, newest first")]
    certificates: Annotated[list[CertificatePicture], _note("by node and end")]


class Revoked(Struct, frozen=True):
    """Certificates that are good no more."""

    revoked: Annotated[list[str], _note("serial numbers of what was revoked, in hex")]


class AuthorityControl(Protocol):
    """The cluster's authority as operators have it, from one of its nodes."""

    async def show(self) -> AuthorityPicture:
        """The authority as this node has it. Raises AuthorityRefused: it was not noted yet."""
        ...

    async def rotate(self, *, here: bool, without: list[int]) -> AuthorityPicture:
        """Begins a change to a new root, or goes on with the one under way; answers once that is
        agreed. `here`: its key is made on this node, whoever has the key of the present one; also
        in the place of a change whose key was lost. The nodes in `without` are not waited for.

        Raises AuthorityRefused, Overloaded, OutcomeUnknown.
        """
        ...

    async def revoke(self, what: str) -> Revoked:
        """Revokes a certificate by its serial number in hex, or all of a node by `node:NUMBER`.

        Raises AuthorityRefused, Overloaded, OutcomeUnknown.
        """
        ...
