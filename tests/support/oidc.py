"""A small but real OpenID Connect provider on loopback. Whoever comes is signed in at once."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

CLIENT, SECRET = "continuity", "s3cret/with:odd+characters"


class Provider:
    """`claims` go into every ID token, over what belongs there."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.claims: dict[str, Any] = {}
        self.given: dict[str, dict[str, str]] = {}

    def configuration(self) -> dict[str, str]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
        }

    def sign_in(self, address: str) -> str:
        """What the user's browser does at the provider: the address that it is sent back to."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        self.given[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'state': asked['state'], 'code': code})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, str] | None:
        """The answer to a code: once, to the client, with the verifier that fits (RFC 7636, 4.6)."""
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        client, _, secret = pair.partition(":")
        asked = self.given.pop(form.get("code", ""), None)
        unquoted = dict(parse_qsl(f"secret={secret}"))
        if (client, unquoted.get("secret")) != (CLIENT, SECRET) or not asked:
            return None
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return None
        if form["redirect_uri"] != asked["redirect_uri"] or form["grant_type"] != "authorization_code":
            return None
        claims = {"iss": self.issuer, "aud": CLIENT, "exp": time.time() + 300, "nonce": asked["nonce"]}
        parts = ({"alg": "none"}, claims | self.claims)
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return {"access_token": "x", "token_type": "Bearer", "id_token": ".".join([*encoded, ""])}


@contextmanager
def oidc_provider() -> Iterator[Provider]:
    """The provider, until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/.well-known/openid-configuration"
            self._answer(provider.configuration() if known else None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._answer(provider.token(form, self.headers.get("Authorization", "")))

        def _answer(self, found: dict[str, str] | None) -> None:
            data = json.dumps(found or {"error": "invalid_grant"}).encode()
            self.send_response(200 if found else 400)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
