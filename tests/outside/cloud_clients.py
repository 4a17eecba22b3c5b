"""google-auth and azure-identity as they are, PyJWT and openssl as who believes: see test_cloud_clients.py.

    python cloud_clients.py ISSUER SUBJECT CERTIFICATE

Stands in for the token endpoints of Google (plain) and of Azure (TLS, with that certificate and key), which take a
token only as these clouds would: by the keys that ISSUER's discovery document leads to, for SUBJECT. What each client
was given is told as one line of JSON.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from typing import Any

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import jwt
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import WorkloadIdentityCredential
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

issuer, subject, certificate = sys.argv[1:]
SCOPE = "https://management.azure.com/.default"


def key_of(token: str) -> Any:
    """By discovery, as whoever trusts that issuer finds it."""
    with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=60) as answer:
        found = json.load(answer)
    assert found["issuer"] == issuer, found
    return jwt.PyJWKClient(found["jwks_uri"]).get_signing_key_from_jwt(token).key


def believed(token: str, audience: str) -> None:
    """`jwt.InvalidTokenError`."""
    required = {"require": ["exp", "iat", "nbf", "iss", "aud", "sub"]}
    claims = jwt.decode(
        token, key_of(token), algorithms=["RS256", "ES256"], audience=audience, issuer=issuer, options=required
    )
    if claims["sub"] != subject:
        raise jwt.InvalidTokenError("of somebody else")
    check_by_openssl(token)


def check_by_openssl(token: str) -> None:
    """The signature of what it signs, by the published key, as openssl sees it."""
    signed, _, signature = token.rpartition(".")
    with tempfile.TemporaryDirectory() as place:
        parts = {
            "key": key_of(token).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "signature": base64.urlsafe_b64decode(signature + "=="),
            "signed": signed.encode(),
        }
        for name, data in parts.items():
            with open(os.path.join(place, name), "wb") as file:
                file.write(data)
        words = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "signature", "signed"]
        subprocess.run(words, cwd=place, check=True, capture_output=True)


class Clouds(http.server.BaseHTTPRequestHandler):
    """Google's token exchange and Azure's token endpoint."""

    def do_GET(self) -> None:
        """Azure's own discovery, of itself."""
        base = f"https://localhost:{azure.server_port}/tenant"
        names = ("authorization_endpoint", "token_endpoint", "issuer")
        self._say(200, dict.fromkeys(names, f"{base}/oauth2/v2.0/token"))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        asked = dict(urllib.parse.parse_qsl(body))
        token, audience = asked.get("subject_token"), asked.get("audience", "")
        if "client_assertion" in asked:
            token, audience = asked["client_assertion"], "api://AzureADTokenExchange"
        try:
            believed(token or "", audience)
        except jwt.PyJWTError as error:
            self._say(400, {"error": "invalid_grant", "error_description": repr(error)})
        else:
            given = f"for {asked.get('client_id', audience)}"
            kind = "urn:ietf:params:oauth:token-type:access_token"
            said = {"access_token": given, "token_type": "Bearer", "expires_in": 3600, "issued_token_type": kind}
            self._say(200, said)

    def _say(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def serving(port: int) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Clouds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def ask_google() -> str:
    """With the default chain, by GOOGLE_APPLICATION_CREDENTIALS."""
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    try:
        credentials.refresh(google.auth.transport.requests.Request())
    except google.auth.exceptions.GoogleAuthError as error:
        return f"refused: {error}"
    return str(credentials.token)


def ask_azure() -> str:
    """By AZURE_FEDERATED_TOKEN_FILE; that is no cloud of Microsoft's."""
    credential = WorkloadIdentityCredential(
        authority=f"https://localhost:{azure.server_port}", disable_instance_discovery=True
    )
    try:
        return str(credential.get_token(SCOPE).token)
    except ClientAuthenticationError as error:
        return f"refused: {error.message}"


google_sts = serving(int(os.environ["GOOGLE_PORT"]))
azure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Clouds)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
azure.socket = context.wrap_socket(azure.socket, server_side=True)
threading.Thread(target=azure.serve_forever, daemon=True).start()
print(json.dumps({"google": ask_google(), "azure": ask_azure()}))
