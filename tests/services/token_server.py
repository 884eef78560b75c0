"""Google's tokens: that of an account with a key file, and those of the accounts that it may impersonate."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

SOURCE = "source@test-project.iam.gserviceaccount.com"


class TokenServer:
    """OAuth's token endpoint, and iamcredentials' generateAccessToken.

    Attributes:
        asked: The accounts for which a token was asked, each with the token of who asked.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/token":
                    self._send(200, {"access_token": "token-of-source", "expires_in": 3600, "token_type": "Bearer"})
                    return
                account = self.path.rpartition("/")[2].removesuffix(":generateAccessToken")
                asked.append((account, self.headers["Authorization"]))
                if account.startswith("forbidden"):
                    self._send(403, {"error": {"code": 403, "message": "Permission denied on resource"}})
                    return
                self._send(200, {"accessToken": f"token-of-{account}", "expireTime": "2099-01-01T00:00:00Z"})

            def _send(self, status: int, answer: dict[str, Any]) -> None:
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def impersonation(self) -> str:
        """What takes the place of `google.auth.iam._IAM_ENDPOINT`, which no variable sets."""
        return f"{self.url}/{{}}:generateAccessToken"

    def write_key(self, path: Path) -> Path:
        """Writes a key file of the source account, for GOOGLE_APPLICATION_CREDENTIALS."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        text = key.private_bytes(serialization.Encoding.PEM, *form).decode()
        known = {"type": "service_account", "client_email": SOURCE, "project_id": "test-project"}
        path.write_text(json.dumps({**known, "private_key": text, "token_uri": f"{self.url}/token"}))
        return path

    def __enter__(self) -> TokenServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
