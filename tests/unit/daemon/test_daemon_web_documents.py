"""Documents of identity providers over HTTPS: what is fetched, and from whom not."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme

from rs3gwd.base.web_documents import DocumentUnavailable
from rs3gwd.daemon import web_documents
from rs3gwd.daemon.web_documents import HttpsDocuments
from rs3gwd.engine.system import TrioThreads
from rs3gwd.testing.fake_issuer import DISCOVERY, IssuerServer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the provider's certificate."""
    return trustme.CA()


@pytest.fixture
def ca_path(authority: trustme.CA, tmp_path: Path) -> str:
    """The file of its certificate."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[IssuerServer]:
    """A provider at localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with IssuerServer(context) as serving:
        yield serving


async def test_a_document_comes_over_a_verified_connection(
    server: IssuerServer, ca_path: str
) -> None:
    """From a server whose certificate the named authority signed."""
    documents = HttpsDocuments(ca_path=ca_path, threads=TrioThreads(2))
    found = await documents.fetch(server.issuer.url + DISCOVERY)
    assert found == server.issuer.document(DISCOVERY)


async def test_a_certificate_of_somebody_else_is_refused(
    server: IssuerServer, ca_path: str
) -> None:
    """Of an authority that is not trusted, or for another name."""
    system = HttpsDocuments(ca_path="", threads=TrioThreads(2))
    with pytest.raises(DocumentUnavailable, match="certificate"):
        await system.fetch(server.issuer.url + DISCOVERY)
    documents = HttpsDocuments(ca_path=ca_path, threads=TrioThreads(2))
    with pytest.raises(DocumentUnavailable, match="certificate"):
        await documents.fetch(server.issuer.url.replace("localhost", "127.0.0.1") + DISCOVERY)


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
async def test_only_status_200_is_a_document(
    server: IssuerServer, ca_path: str, status: int
) -> None:
    """No redirection is followed."""
    server.status = status
    documents = HttpsDocuments(ca_path=ca_path, threads=TrioThreads(2))
    with pytest.raises(DocumentUnavailable, match=f"status {status}"):
        await documents.fetch(server.issuer.url + DISCOVERY)


async def test_a_document_is_bounded(
    server: IssuerServer, ca_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bytes, and in time however slowly it comes."""
    documents = HttpsDocuments(ca_path=ca_path, threads=TrioThreads(2))
    monkeypatch.setattr(web_documents, "DOCUMENT_BYTES_MAX", 10)
    with pytest.raises(DocumentUnavailable, match="more than 10 bytes"):
        await documents.fetch(server.issuer.url + DISCOVERY)
    monkeypatch.undo()
    monkeypatch.setattr(web_documents, "DOCUMENT_SECONDS_MAX", -1.0)
    with pytest.raises(DocumentUnavailable, match="too long"):
        await documents.fetch(server.issuer.url + DISCOVERY)


@pytest.mark.parametrize(
    "url",
    ["http://localhost/a", "file:///etc/passwd", "https:///a", "https://[::1", "https://a:99999/"],
)
async def test_nothing_but_https_is_spoken(url: str) -> None:
    """Whatever an address says."""
    documents = HttpsDocuments(ca_path="", threads=TrioThreads(2))
    with pytest.raises(DocumentUnavailable):
        await documents.fetch(url)


async def test_a_server_in_the_clear_gets_no_request(ca_path: str) -> None:
    """At an https address that speaks http nothing is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    plain = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=plain.handle_request, daemon=True)
    thread.start()
    documents = HttpsDocuments(ca_path=ca_path, threads=TrioThreads(2))
    with pytest.raises(DocumentUnavailable):
        await documents.fetch(f"https://localhost:{plain.server_address[1]}/")
    thread.join(10)
    plain.server_close()
    assert asked == []


def test_authorities_that_cannot_be_read_are_named() -> None:
    """With the option's name and the path."""
    with pytest.raises(OSError, match=r"oidc_ca_file: /nowhere"):
        HttpsDocuments(ca_path="/nowhere", threads=TrioThreads(1))
