"""A Vault on a loopback port with one transit key, for tests: the documented API, and its refusals.

What it is not: no policies, no leases; one token may do everything. Faults are settings: `sealed`
answers 503 as a sealed Vault does, `answer` is sent in place of anything else.

Source: "Transit secrets engine (API)" in the Vault documentation.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "hvs.test-token"


class FakeVault:
    """The transit key `name` at the mount `transit`; `asked` are the paths of all requests."""

    def __init__(self, name: str = "rs3gwd") -> None:
        self.name = name
        self.key = AESGCM(secrets.token_bytes(32))
        self.sealed = False
        self.answer: tuple[int, bytes] | None = None
        self.asked: list[str] = []
        vault = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = vault.handle(self.path, self.headers["X-Vault-Token"], body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def handle(self, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to one request."""
        self.asked.append(path)
        if self.answer is not None:
            return self.answer
        if self.sealed:
            return _refuse(503, "Vault is sealed")
        if token != TOKEN:
            return _refuse(403, "permission denied")
        fields = json.loads(body)
        associated = base64.b64decode(fields.get("associated_data", ""))
        if path == f"/v1/transit/encrypt/{self.name}":
            nonce = secrets.token_bytes(12)
            plain = base64.b64decode(fields["plaintext"])
            sealed = nonce + self.key.encrypt(nonce, plain, associated)
            text = "vault:v1:" + base64.b64encode(sealed).decode()
            return 200, json.dumps({"data": {"ciphertext": text, "key_version": 1}}).encode()
        if path == f"/v1/transit/decrypt/{self.name}":
            sealed = base64.b64decode(fields["ciphertext"].removeprefix("vault:v1:"))
            try:
                plain = self.key.decrypt(sealed[:12], sealed[12:], associated)
            except InvalidTag:
                return _refuse(400, "cipher: message authentication failed")
            data = {"plaintext": base64.b64encode(plain).decode()}
            return 200, json.dumps({"data": data}).encode()
        return _refuse(400, "encryption key not found")

    def __enter__(self) -> FakeVault:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _refuse(status: int, reason: str) -> tuple[int, bytes]:
    return status, json.dumps({"errors": [reason]}).encode()
