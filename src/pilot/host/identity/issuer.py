"""What a token of OpenID Connect says about a machine, and where its issuer is looked up.

<base>/<organisation>                                     the issuer
<base>/<organisation>/.well-known/openid-configuration    its discovery document
<base>/<organisation>/.well-known/jwks.json               its keys
"""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable

from .oidc import ALGORITHMS, LIFE_S, Claims, Signer

MAX_AUDIENCE = 255


@dataclasses.dataclass(frozen=True)
class Subject:
    """A machine, as its host's rows have it. `app`: of a sprite, "_sprites"."""

    organisation: str
    organisation_id: str
    app: str
    app_id: str
    machine: str
    machine_id: str
    machine_version: str = ""
    region: str = "local"
    image: str = ""
    image_digest: str = ""

    @property
    def text(self) -> str:
        return f"{self.organisation}:{self.app}:{self.machine}"


@dataclasses.dataclass(frozen=True)
class Issued:
    """A token, and when it was made and ends: seconds since 1970."""

    token: str
    issued_s: int
    expires_s: int


@dataclasses.dataclass(frozen=True)
class Issuer:
    """`base`: an address that those who verify reach, without a slash at its end."""

    base: str
    signer: Signer
    now_s: Callable[[], float] = time.time

    def of(self, organisation: str) -> str:
        return f"{self.base}/{organisation}"

    def discovery(self, organisation: str) -> dict[str, object]:
        """As OpenID Connect Discovery 1.0 wants it, for what issues and does nothing else."""
        issuer = self.of(organisation)
        return {
            "issuer": issuer,
            "jwks_uri": f"{issuer}/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(ALGORITHMS),
            "scopes_supported": ["openid"],
            "claims_supported": sorted(self.claims(Subject("", "", "", "", "", ""), None, 0)),
        }

    def issue(self, subject: Subject, audience: str | None, *, aws_principal_tags: bool = False) -> Issued:
        """Signed, for ten minutes."""
        issued_s = int(self.now_s())
        claims = dict(self.claims(subject, audience, issued_s)) | (_aws_tags(subject) if aws_principal_tags else {})
        return Issued(self.signer.sign(claims), issued_s, issued_s + LIFE_S)

    def claims(self, subject: Subject, audience: str | None, now_s: int) -> Claims:
        """Ids are texts. Without an audience it is for the issuer's own organisation."""
        return {
            "iss": self.of(subject.organisation),
            "sub": subject.text,
            "aud": audience or self.of(subject.organisation),
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + LIFE_S,
            "jti": str(uuid.uuid4()),
            "org_id": subject.organisation_id,
            "org_name": subject.organisation,
            "app_id": subject.app_id,
            "app_name": subject.app,
            "machine_id": subject.machine_id,
            "machine_name": subject.machine,
            "machine_version": subject.machine_version,
            "region": subject.region,
            "image": subject.image,
            "image_digest": subject.image_digest,
        }


def _aws_tags(subject: Subject) -> dict[str, dict[str, object]]:
    tags = {"org_name": [subject.organisation], "app_name": [subject.app], "machine_name": [subject.machine]}
    return {"https://aws.amazon.com/tags": {"principal_tags": tags, "transitive_tag_keys": sorted(tags)}}
