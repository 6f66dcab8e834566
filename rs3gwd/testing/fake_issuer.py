"""An OpenID Connect provider: its keys, its two documents, and tokens of whatever it is told.

Its documents are given from memory (it has the shape of `WebDocuments`), or over HTTPS by
`IssuerServer`.
"""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeyParameters, OctKey, RSAKey

from rs3gwd.base.web_documents import DocumentUnavailable

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/keys"


class FakeIssuer:
    """The issuer at `url`. `asked` are the addresses that were fetched; `down` answers nobody."""

    def __init__(self, url: str = "https://issuer.example.com") -> None:
        self.url = url
        self.keys: dict[str, Key] = {"first": RSAKey.generate_key(2048, {"kid": "first"})}
        self.published: dict[str, Any] | None = None
        self.jwks_uri = url + KEYS
        self.named = url
        self.asked: list[str] = []
        self.down = False

    def add_key(self, key_id: str, kind: str = "RSA") -> None:
        """One more key, published at once."""
        parameters: KeyParameters = {"kid": key_id}
        if kind == "RSA":
            self.keys[key_id] = RSAKey.generate_key(2048, parameters)
        elif kind == "oct":
            self.keys[key_id] = OctKey.generate_key(256, parameters)
        else:
            self.keys[key_id] = ECKey.generate_key(kind, parameters)

    def token(
        self,
        claims: dict[str, Any],
        *,
        key_id: str = "first",
        algorithm: str = "RS256",
        head: dict[str, Any] | None = None,
        key: Key | None = None,
    ) -> str:
        """A token that says `claims`, signed by a key of its own or by `key`."""
        header = {"alg": algorithm, "kid": key_id, **(head or {})}
        signer = key or self.keys[key_id]
        # Told, else the library would not make the tokens that must be refused.
        return jwt.encode(header, claims, signer, algorithms=[algorithm])

    def sign(self, data: bytes) -> bytes:
        """The signature RS256 of the first key, for tokens that no library makes."""
        key = self.keys["first"].raw_value
        assert isinstance(key, RSAPrivateKey)
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def document(self, path: str) -> bytes | None:
        """What is at a path."""
        if path == DISCOVERY:
            return json.dumps({"issuer": self.named, "jwks_uri": self.jwks_uri}).encode()
        if path == KEYS:
            keys = [key.as_dict(private=_is_shared(key)) for key in self.keys.values()]
            return json.dumps(self.published or {"keys": keys}).encode()
        return None

    async def fetch(self, url: str) -> bytes:
        """As `WebDocuments.fetch`."""
        self.asked.append(url)
        found = None if self.down else self.document(url.removeprefix(self.url))
        if found is None:
            raise DocumentUnavailable("nobody is there")
        return found


def _is_shared(key: Key) -> bool:
    return key.key_type == "oct"


class IssuerServer:
    """Serves the documents of an issuer at `https://localhost:port`, within a context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = server.issuer.document(self.path)
                self.send_response(server.status if found is not None else 404)
                self.send_header("Content-Length", str(len(found or b"")))
                self.send_header("Location", server.issuer.url + KEYS)
                self.end_headers()
                self.wfile.write(found or b"")

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self.status = 200
        self.issuer = FakeIssuer(f"https://localhost:{self._http.server_address[1]}")

    def __enter__(self) -> IssuerServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
