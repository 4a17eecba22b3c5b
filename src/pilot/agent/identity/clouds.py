"""The table of clouds: an environment that names a role gets a token in a file, and what the cloud's own libraries look
for to find it. Pure.

    AWS     AWS_ROLE_ARN                                        ─► AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_SESSION_NAME
    Google  GCP_WORKLOAD_IDENTITY_PROVIDER [GCP_SERVICE_ACCOUNT] ─► GOOGLE_APPLICATION_CREDENTIALS
    Azure   AZURE_CLIENT_ID, AZURE_TENANT_ID                     ─► AZURE_FEDERATED_TOKEN_FILE
    Vault   VAULT_ADDR, VAULT_ROLE                               ─► VAULT_JWT_FILE

Who brings a way of their own (a key, a token file) is left to it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping

from ..inside import fly_places

Environment = Mapping[str, str]
_GOOGLE_STS = "https://sts.googleapis.com/v1/token"
_GOOGLE_IAM = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"


@dataclasses.dataclass(frozen=True)
class Cloud:
    """`wants`: with all of these variables, and none of `instead`, a token for `audience` is in the file `token`, and
    `variables` say where. `document`: a file that the cloud's libraries want beside it."""

    wants: tuple[str, ...]
    instead: tuple[str, ...]
    token: str
    audience: Callable[[Environment], str]
    variables: Callable[[str], Environment]
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


def credentials(environment: Environment) -> tuple[Credential, ...]:
    """What is to be there for a process with this environment."""
    return tuple(_credential(cloud, environment) for cloud in _wanted(environment))


def variables(environment: Environment, name: str) -> dict[str, str]:
    """What it is told beside its environment; `name`: what the machine is called."""
    found: dict[str, str] = {}
    for cloud in _wanted(environment):
        found |= {key: value for key, value in cloud.variables(name).items() if key not in environment}
    return found


def _wanted(environment: Environment) -> list[Cloud]:
    return [
        cloud
        for cloud in CLOUDS
        if all(environment.get(each) for each in cloud.wants) and not any(each in environment for each in cloud.instead)
    ]


def _credential(cloud: Cloud, environment: Environment) -> Credential:
    documents = dict([cloud.document(environment)]) if cloud.document else {}
    return Credential(cloud.token, cloud.audience(environment), documents)


def _session_name(name: str) -> str:
    """As AWS takes it: 2 to 64 of these characters."""
    return re.sub(r"[^\w+=,.@-]", "-", name, flags=re.ASCII)[:64].ljust(2, "-")


def _google_audience(environment: Environment) -> str:
    provider = environment["GCP_WORKLOAD_IDENTITY_PROVIDER"]
    return f"//iam.googleapis.com/{provider.removeprefix('//iam.googleapis.com/')}"


def _google_document(environment: Environment) -> tuple[str, str]:
    """The credential configuration that `gcloud iam workload-identity-pools create-cred-config` would write."""
    document: dict[str, object] = {
        "type": "external_account",
        "audience": _google_audience(environment),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": environment.get("GCP_STS_URL", _GOOGLE_STS),
        "credential_source": {"file": place("gcp_token"), "format": {"type": "text"}},
    }
    if account := environment.get("GCP_SERVICE_ACCOUNT"):
        document["service_account_impersonation_url"] = f"{_GOOGLE_IAM}/{account}:generateAccessToken"
    return "gcp_credentials.json", json.dumps(document)


CLOUDS = (
    Cloud(
        wants=("AWS_ROLE_ARN",),
        instead=("AWS_WEB_IDENTITY_TOKEN_FILE",),
        token="oidc_token",  # as Fly calls it
        audience=lambda _: "sts.amazonaws.com",
        variables=lambda name: {
            "AWS_WEB_IDENTITY_TOKEN_FILE": place("oidc_token"),
            "AWS_ROLE_SESSION_NAME": _session_name(name),
        },
    ),
    Cloud(
        wants=("GCP_WORKLOAD_IDENTITY_PROVIDER",),
        instead=("GOOGLE_APPLICATION_CREDENTIALS",),
        token="gcp_token",
        audience=_google_audience,
        variables=lambda _: {"GOOGLE_APPLICATION_CREDENTIALS": place("gcp_credentials.json")},
        document=_google_document,
    ),
    Cloud(
        wants=("AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
        instead=("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"),
        token="azure_token",
        audience=lambda _: "api://AzureADTokenExchange",
        variables=lambda _: {"AZURE_FEDERATED_TOKEN_FILE": place("azure_token")},
    ),
    Cloud(
        wants=("VAULT_ADDR", "VAULT_ROLE"),
        instead=("VAULT_JWT_FILE", "VAULT_TOKEN"),
        token="vault_token",
        audience=lambda environment: environment["VAULT_ADDR"],
        variables=lambda _: {"VAULT_JWT_FILE": place("vault_token")},
    ),
)
