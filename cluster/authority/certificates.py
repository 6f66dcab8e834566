"""The cluster's own certificate authority and the certificates of its nodes.

Every node proves itself to every other with a certificate whose subject alternative name is the
URI `rs3gw://CLUSTER/node/NUMBER`; names and addresses mean nothing. The subject's serialNumber is
the SHA-256 of the token of the disk that the node joined with. Certificates are short-lived
(90 days) and renewed when two thirds of that are over. Keys are ECDSA on P-256 (FIPS 186-5), which
every TLS 1.3 stack has. The authority is changed by trusting two at once for a while: `Trust`
holds all roots that are good, the newest first.

Source: RFC 5280 (certificates), RFC 2986 (requests). Invariants: an issued certificate cannot
issue others; its serial number is 127 random bits and never used again; a request decides nothing
but the public key, whatever it asks for.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cluster.base.errors import IdentityError
from cluster.base.ids import NodeId
from cluster.base.ports import Random

NODE_DAYS: Final = 90
"""Life of a node's certificate; what a stolen one is worth at most, if nobody notices."""

AUTHORITY_DAYS: Final = 3650
"""Life of the authority itself."""

BACKDATED_MS: Final = 3_600_000
"""Certificates begin an hour ago: clocks of nodes differ."""

DISK_TOKEN_BYTES: Final = 16
"""What is bound to a certificate; a node's token goes on behind it with what is drawn at its first
start, so that a disk which was emptied has another one."""

_URI: Final = re.compile(r"rs3gw://([a-z0-9-]{1,64})/node/([1-9][0-9]{0,18})")


class PeerCertificate(NamedTuple):
    """What a node's certificate says; `serial` names it when it is revoked."""

    cluster: str
    node: NodeId
    serial: int
    not_before_ms: int
    not_after_ms: int
    disk: str = ""
    """SHA-256, in hex, of the token of the disk; empty where the certificate binds none."""
    authority: str = ""
    """Who issued it (`root_name`); empty where it does not say."""

    def check_disk(self, token: bytes) -> None:
        """Whether a node's token begins with that of the disk it joined with. Raises
        IdentityError."""
        if self.disk and self.disk != disk_name(token[:DISK_TOKEN_BYTES]):
            raise IdentityError(f"node {self.node} has come back on another disk")

    @property
    def renew_at_ms(self) -> int:
        """When two thirds of its life are over."""
        return self.not_before_ms + (self.not_after_ms - self.not_before_ms) * 2 // 3


class Authority:
    """A root certificate with its key. Whoever holds it decides who is of the cluster."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        if certificate.public_key() != key.public_key():
            raise IdentityError("the authority's key and certificate do not belong together")
        self.certificate = certificate
        self._key = key

    @classmethod
    def create(cls, cluster: str, *, now_ms: int, random: Random) -> "Authority":
        """A new authority. Raises IdentityError for a cluster id that no URI could carry."""
        node_uri(cluster, 1)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"rs3gw cluster {cluster}"[:64])])
        builder = _builder(now_ms, days=AUTHORITY_DAYS, serial=_serial(random))
        certificate = (
            builder.subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes, password: bytes | None = None) -> "Authority":
        """From what `certificate_pem` and `key_pem` gave. Raises IdentityError."""
        try:
            loaded = serialization.load_pem_private_key(key, password)
            root = x509.load_pem_x509_certificate(certificate)
        except (ValueError, TypeError) as error:
            raise IdentityError(f"the authority cannot be read: {error}") from error
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise IdentityError("the authority's key is not of the kind made here")
        return cls(root, loaded)

    def certificate_pem(self) -> bytes:
        """The root certificate; no secret."""
        return to_pem(self.certificate)

    def key_pem(self, password: bytes | None = None) -> bytes:
        """The key, in PKCS 8, encrypted when there is a password."""
        return _key_pem(self._key, password)

    def issue(
        self,
        request: bytes,
        *,
        cluster: str,
        node: NodeId,
        now_ms: int,
        random: Random,
        disk: bytes = b"",
    ) -> x509.Certificate:
        """A certificate for `node` on the key of a DER request; `disk` is the token of the disk
        that it is bound to. Raises IdentityError."""
        try:
            wanted = x509.load_der_x509_csr(request)
            proved = wanted.is_signature_valid
        except ValueError as error:
            raise IdentityError(f"a certificate request that cannot be read: {error}") from error
        key = wanted.public_key()
        if not proved or not isinstance(key, ec.EllipticCurvePublicKey):
            raise IdentityError("a certificate request without proof of its key")
        names = [x509.NameAttribute(NameOID.COMMON_NAME, f"node {node}")]
        if disk:
            names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, disk_name(disk)))
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        uri = x509.UniformResourceIdentifier(node_uri(cluster, node))
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            _builder(now_ms, days=NODE_DAYS, serial=_serial(random))
            .subject_name(x509.Name(names))
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )


class NodeKey:
    """A node's private key, which never leaves the node."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def create(cls) -> "NodeKey":
        """A new key; each certificate gets one of its own."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    def pem(self) -> bytes:
        """In PKCS 8, for the file that TLS reads."""
        return _key_pem(self._key, None)

    def request(self) -> bytes:
        """A DER request for a certificate: the public key and proof of the private one."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Trust(NamedTuple):
    """The roots that are good, DER, newest first: two while the authority changes, else one."""

    roots: tuple[bytes, ...]

    def rotated(self, root: bytes) -> "Trust":
        """With a new root before those that were; nodes get it before it issues anything."""
        return Trust((root, *(known for known in self.roots if known != root)))

    def without(self, root: bytes) -> "Trust":
        """At the end of the change. Raises IdentityError when none would be left."""
        left = tuple(known for known in self.roots if known != root)
        if not left:
            raise IdentityError("a cluster that trusts nobody cannot be repaired from within")
        return Trust(left)

    def pem(self) -> bytes:
        """For a TLS context."""
        return b"".join(to_pem(x509.load_der_x509_certificate(root)) for root in self.roots)

    def check(self, certificate: bytes, *, now_ms: int) -> PeerCertificate:
        """Who a DER certificate stands for. Raises IdentityError unless a root issued it and it
        is in its days; both TLS ends check that too, this is for where TLS could not."""
        said = read_certificate(certificate)
        if not said.not_before_ms <= now_ms < said.not_after_ms:
            raise IdentityError(f"the certificate of node {said.node} is out of its days")
        leaf = x509.load_der_x509_certificate(certificate)
        if not any(_issued(leaf, x509.load_der_x509_certificate(root)) for root in self.roots):
            raise IdentityError(f"the certificate of node {said.node} is not of this cluster")
        return said


def node_uri(cluster: str, node: NodeId) -> str:
    """The name of a node in its certificate. Raises IdentityError for ids that do not fit."""
    uri = f"rs3gw://{cluster}/node/{node}"
    if _URI.fullmatch(uri) is None:
        raise IdentityError(f"{uri} is no name of a node: a-z, 0-9 and - in the cluster's id")
    return uri


def disk_name(token: bytes) -> str:
    """How a certificate names the disk of a token."""
    return hashlib.sha256(token).hexdigest()


def read_certificate(der: bytes) -> PeerCertificate:
    """What a certificate says, whoever issued it. Raises IdentityError."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise IdentityError(f"a certificate that names no node: {error}") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    if found is None:
        raise IdentityError("a certificate that does not name exactly one node")
    disks = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
    return PeerCertificate(
        disk=str(disks[0].value) if disks else "",
        cluster=found[1],
        node=int(found[2]),
        serial=certificate.serial_number,
        not_before_ms=_ms(certificate.not_valid_before_utc),
        not_after_ms=_ms(certificate.not_valid_after_utc),
        authority=_issuer_name(certificate),
    )


@lru_cache(maxsize=64)
def root_name(root: bytes) -> str:
    """The name of an authority by the DER of its certificate: its subject key identifier in hex,
    which its certificates carry (RFC 5280, 4.2.1.1). Raises IdentityError."""
    try:
        extensions = x509.load_der_x509_certificate(root).extensions
        return extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()
    except (ValueError, x509.ExtensionNotFound) as error:
        raise IdentityError(f"a root that cannot be read: {error}") from error


def to_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def to_der(certificate: x509.Certificate) -> bytes:
    """A certificate as it travels."""
    return certificate.public_bytes(serialization.Encoding.DER)


def der_to_pem(certificate: bytes) -> bytes:
    """A certificate that travelled, as text. Raises IdentityError."""
    try:
        return to_pem(x509.load_der_x509_certificate(certificate))
    except ValueError as error:
        raise IdentityError(f"a certificate that cannot be read: {error}") from error


def pem_to_der(pem: bytes) -> bytes:
    """The first certificate in a text, whatever else is there. Raises IdentityError."""
    try:
        return to_der(x509.load_pem_x509_certificate(pem))
    except ValueError as error:
        raise IdentityError(f"no certificate can be read: {error}") from error


def read_roots(pem: bytes) -> tuple[bytes, ...]:
    """Every certificate in a text, as `Trust.pem` gave it. Raises IdentityError."""
    try:
        return tuple(to_der(each) for each in x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise IdentityError(f"the roots cannot be read: {error}") from error


def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of a DER certificate."""
    return hashlib.sha256(certificate).digest()


def _issuer_name(certificate: x509.Certificate) -> str:
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return ""
    return (issuer.key_identifier or b"").hex()


def _issued(leaf: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(now_ms: int, *, days: int, serial: int) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp((now_ms - BACKDATED_MS) // 1000, UTC)
    end = start + timedelta(days=days)
    builder = x509.CertificateBuilder().serial_number(serial)
    return builder.not_valid_before(start).not_valid_after(end)


def _serial(random: Random) -> int:
    return (int.from_bytes(random.token_bytes(16)) >> 1) | 1


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None) -> bytes:
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        protection = serialization.BestAvailableEncryption(password)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
