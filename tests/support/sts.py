"""A small STS for tests, and the rest of AWS behind it: it believes a web identity only as AWS would, by the issuer's
published keys, and then asks moto, which believes everything."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
from joserfc import errors, jwt
from joserfc.jwk import KeySet
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

AUDIENCE = "sts.amazonaws.com"


_SECRET = re.compile("<SecretAccessKey>([^<]+)</SecretAccessKey>")


@dataclass
class Aws:
    """What stands at an address. `trusted`: the only issuer that it knows; `subject`: the only one that may have a
    role. `believed`: claims of each token that it has taken; `refused`: why it has not; `secrets`: of the keys that it
    has lent."""

    trusted: str
    subject: str
    believed: list[Mapping[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._moto: Any = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        """WSGI. Of AWS's own calls only the one that has no signature is looked at."""
        request = Request(environ)
        body = request.get_data()
        asked = dict(urllib.parse.parse_qsl(body.decode("latin-1")))
        if asked.get("Action") == "AssumeRoleWithWebIdentity":
            try:
                self.believed.append(self._claims(asked["WebIdentityToken"]))
            except (errors.JoseError, ValueError, KeyError) as error:
                self.refused.append(repr(error))
                return Response(_REFUSAL, 400, content_type="text/xml")(environ, start_response)
        environ["wsgi.input"] = BytesIO(body)
        answer = Response.from_app(self._moto, environ)
        self.secrets += _SECRET.findall(answer.get_data(as_text=True)) if "Action" in asked else []
        return answer(environ, start_response)

    def _claims(self, token: str) -> Mapping[str, Any]:
        found = httpx.get(f"{self.trusted}/.well-known/openid-configuration").raise_for_status().json()
        keys = KeySet.import_key_set(httpx.get(found["jwks_uri"]).raise_for_status().json())
        claims = jwt.decode(token, keys, algorithms=["RS256"]).claims  # AWS takes ES256 too; ours are RS256
        rules: Any = {name: {"essential": True, "value": value} for name, value in self._wanted().items()}
        registry = jwt.JWTClaimsRegistry(exp={"essential": True}, **rules)
        registry.validate(claims)
        return claims

    def _wanted(self) -> dict[str, str]:
        return {"iss": self.trusted, "aud": AUDIENCE, "sub": self.subject}


_REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>InvalidIdentityToken</Code><Message>not believed</Message></Error></ErrorResponse>"""


@contextlib.contextmanager
def serving(aws: Aws, listening: socket.socket) -> Iterator[None]:
    """Whoever connects there is answered. The socket is the caller's."""
    listening.listen(64)
    server = make_server("127.0.0.1", 0, aws, threaded=True, fd=listening.fileno())
    thread = threading.Thread(target=server.serve_forever, name="small sts")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
