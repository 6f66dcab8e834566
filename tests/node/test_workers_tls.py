"""A renewed certificate comes into use without a restart, and a broken one does not."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from loaded_node import SECONDS_MAX, send

from rs3gwd.testing.node_process import NodeProcess

Start = Callable[..., NodeProcess]


class Certificates:
    """An authority and the files that it fills."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"

    def renew(self) -> int:
        """Puts a new certificate into the files; its serial number."""
        issued = self.authority.issue_cert("localhost")
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.key.write_bytes(issued.private_key_pem.bytes())
        return load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


def serial_of(certificate: bytes) -> int:
    """The serial number of a DER certificate."""
    return load_der_x509_certificate(certificate).serial_number


async def shown(node: NodeProcess, certificates: Certificates) -> int:
    """The serial number that a new connection is shown."""
    context = ssl.create_default_context()
    certificates.authority.configure_trust(context)
    stream = await trio.open_ssl_over_tcp_stream("localhost", node.port, ssl_context=context)
    await stream.do_handshake()
    found = stream.getpeercert(binary_form=True)
    await trio.aclose_forcefully(stream)
    assert found is not None
    return serial_of(found)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_sighup_takes_a_renewed_certificate_into_use(
    start_node: Start, tmp_path: Path, workers: str
) -> None:
    """All new connections see it; one that cannot be read is logged and changes nothing."""
    certificates = Certificates(tmp_path)
    first = certificates.renew()
    node = start_node(
        certificate=certificates.certificate,
        key=certificates.key,
        environ={"RS3GW_WORKERS": workers},
    )
    assert await shown(node, certificates) == first
    second = certificates.renew()
    send(node.pid, 1)
    with trio.fail_after(SECONDS_MAX):
        while True:
            if {await shown(node, certificates) for _ in range(8)} == {second}:
                break
            await trio.sleep(0.1)
    certificates.key.write_text("no key")
    pids = node.pids
    send(node.pid, 1)
    with trio.fail_after(SECONDS_MAX):
        while True:
            if "certificate and key stay as they were" in node.log.read_text():
                break
            await trio.sleep(0.05)
    assert await shown(node, certificates) == second
    assert node.pids == pids
