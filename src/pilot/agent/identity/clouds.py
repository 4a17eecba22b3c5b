"""The table of clouds: an environment that names a role gets a token in a file, and what the cloud's own libraries look
for to find it. Pure.

    AWS     AWS_ROLE_ARN                                        ─► AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_SESSION_NAME
    Google  GCP_WORKLOAD_IDENTITY_PROVIDER [GCP_SERVICE_ACCOUNT] ─► GOOGLE_APPLICATION_CREDENTIALS
    Azure   AZURE_CLIENT_ID, AZURE_TENANT_ID                     ─► AZURE_FEDERATED_TOKEN_FILE
    Vault   VAULT_ADDR, VAULT_ROLE                               ─► VAULT_JWT_FILE

What differs between environments (a provider, an account, an address) is in the name of a file of its own, so that two
services of one container have each what they asked for.

Who brings a way of their own (a key, a token file) is left to it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping

import msgspec

from ..inside import fly_places

Environment = Mapping[str, str]
_GOOGLE_STS = "https://sts.googleapis.com/v1/token"
_GOOGLE_IAM = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


@dataclasses.dataclass(frozen=True)
class Cloud:
    """`wants`: with all of these variables, and none of `instead`, a token for `audience` is in the file `token`, and
    `variables`, of an environment and of what the machine is called, say where. `document`: a file that the cloud's
    libraries want beside it, by name."""

    name: str
    wants: tuple[str, ...]
    instead: tuple[str, ...]
    token: Callable[[Environment], str]
    audience: Callable[[Environment], str]
    variables: Callable[[Environment, str], Environment]
    document: Callable[[Environment], tuple[str, str]] | None = None


@dataclasses.dataclass(frozen=True)
class Credential:
    """A token for `audience`, in a file of that name, and other files by name that never change."""

    token: str
    audience: str
    documents: Mapping[str, str]


def place(name: str) -> str:
    """Where processes find that file."""
    return f"{fly_places.PLACE}/{name}"


def credentials(*environments: Environment) -> tuple[Credential, ...]:
    """What is to be there for processes with these environments: by token, with the documents of all who use it."""
    found: dict[str, Credential] = {}
    for environment in environments:
        for cloud in _wanted(environment):
            each = _credential(cloud, environment)
            beside = found[each.token].documents if each.token in found else {}
            found[each.token] = dataclasses.replace(each, documents={**beside, **each.documents})
    return tuple(found.values())


def variables(environment: Environment, name: str) -> dict[str, str]:
    """What it is told beside its environment; `name`: what the machine is called."""
    found: dict[str, str] = {}
    for cloud in _wanted(environment):
        found |= {key: value for key, value in cloud.variables(environment, name).items() if key not in environment}
    return found


def _wanted(environment: Environment) -> list[Cloud]:
    return [
        cloud
        for cloud in CLOUDS
        if all(environment.get(each) for each in cloud.wants) and not any(each in environment for each in cloud.instead)
    ]


def _credential(cloud: Cloud, environment: Environment) -> Credential:
    documents = dict([cloud.document(environment)]) if cloud.document else {}
    return Credential(cloud.token(environment), cloud.audience(environment), documents)


def _named(name: str, of: str, ending: str = "") -> str:
    """A file's name for that alone."""
    return f"{name}-{hashlib.sha256(of.encode()).hexdigest()[:16]}{ending}"


def _session_name(name: str) -> str:
    """As AWS takes it: 2 to 64 of these characters."""
    return re.sub(r"[^\w+=,.@-]", "-", name, flags=re.ASCII)[:64].ljust(2, "-")


def _google_audience(environment: Environment) -> str:
    provider = environment["GCP_WORKLOAD_IDENTITY_PROVIDER"]
    return f"//iam.googleapis.com/{provider.removeprefix('//iam.googleapis.com/')}"


def _google_token(environment: Environment) -> str:
    return _named("gcp_token", _google_audience(environment))


def _google_document(environment: Environment) -> tuple[str, str]:
    """The credential configuration that `gcloud iam workload-identity-pools create-cred-config` would write."""
    document: dict[str, object] = {
        "type": "external_account",
        "audience": _google_audience(environment),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": environment.get("GCP_STS_URL", _GOOGLE_STS),
        "credential_source": {"file": place(_google_token(environment)), "format": {"type": "text"}},
    }
    if account := environment.get("GCP_SERVICE_ACCOUNT"):
        document["service_account_impersonation_url"] = f"{_GOOGLE_IAM}/{account}:generateAccessToken"
    text = msgspec.json.encode(document).decode()
    return _named("gcp_credentials", text, ".json"), text


def _vault_token(environment: Environment) -> str:
    return _named("vault_token", environment["VAULT_ADDR"])


CLOUDS = (
    Cloud(
        "aws",
        wants=("AWS_ROLE_ARN",),
        instead=("AWS_WEB_IDENTITY_TOKEN_FILE",),
        token=lambda _: "oidc_token",  # as Fly calls it; the same for all roles
        audience=lambda _: "sts.amazonaws.com",
        variables=lambda _, name: {
            "AWS_WEB_IDENTITY_TOKEN_FILE": place("oidc_token"),
            "AWS_ROLE_SESSION_NAME": _session_name(name),
        },
    ),
    Cloud(
        "google",
        wants=("GCP_WORKLOAD_IDENTITY_PROVIDER",),
        instead=("GOOGLE_APPLICATION_CREDENTIALS",),
        token=_google_token,
        audience=_google_audience,
        variables=lambda environment, _: {"GOOGLE_APPLICATION_CREDENTIALS": place(_google_document(environment)[0])},
        document=_google_document,
    ),
    Cloud(
        "azure",
        wants=("AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        instead=("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"),
        token=lambda _: "azure_token",
        audience=lambda _: "api://AzureADTokenExchange",
        variables=lambda _, __: {"AZURE_FEDERATED_TOKEN_FILE": place("azure_token")},
    ),
    Cloud(
        "vault",
        wants=("VAULT_ADDR", "VAULT_ROLE"),
        instead=("VAULT_JWT_FILE", "VAULT_TOKEN"),
        token=_vault_token,
        audience=lambda environment: environment["VAULT_ADDR"],
        variables=lambda environment, _: {"VAULT_JWT_FILE": place(_vault_token(environment))},
    ),
)
