"""What an environment asks for of its clouds, and what it is told: the table, row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from pilot.agent.identity import clouds

AWS = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r"}
GOOGLE = {"GCP_WORKLOAD_IDENTITY_PROVIDER": "projects/1/locations/global/workloadIdentityPools/p/providers/q"}
AZURE = {"AZURE_CLIENT_ID": "c", "AZURE_TENANT_ID": "t"}
VAULT = {"VAULT_ADDR": "https://vault.test:8200", "VAULT_ROLE": "web"}


@pytest.mark.parametrize(
    ("environment", "audience", "variables"),
    [
        (AWS, "sts.amazonaws.com", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/.fly/oidc_token", "AWS_ROLE_SESSION_NAME": "m1"}),
        (
            GOOGLE, "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/.fly/gcp_credentials.json"},
        ),
        (AZURE, "api://AzureADTokenExchange", {"AZURE_FEDERATED_TOKEN_FILE": "/.fly/azure_token"}),
        (VAULT, "https://vault.test:8200", {"VAULT_JWT_FILE": "/.fly/vault_token"}),
    ],
)  # fmt: skip
def test_a_row(environment: Mapping[str, str], audience: str, variables: Mapping[str, str]) -> None:
    (found,) = clouds.credentials(environment)
    assert found.audience == audience
    assert clouds.variables(environment, "m1") == variables
    for missing in environment:
        fewer = {name: value for name, value in environment.items() if name != missing}
        assert clouds.credentials(fewer) == ()
        assert clouds.credentials({**fewer, missing: ""}) == (), "nothing is no role"


@pytest.mark.parametrize("cloud", clouds.CLOUDS, ids=lambda cloud: cloud.token)
def test_who_brings_a_way_of_their_own_is_left_to_it(cloud: clouds.Cloud) -> None:
    environment = dict.fromkeys(cloud.wants, "x")
    assert clouds.credentials(environment)
    for own in cloud.instead:
        assert clouds.credentials({**environment, own: "mine"}) == ()
        assert clouds.variables({**environment, own: "mine"}, "m1") == {}


def test_all_at_once_and_none() -> None:
    assert len(clouds.credentials({**AWS, **GOOGLE, **AZURE, **VAULT})) == len(clouds.CLOUDS)
    assert len({cloud.token for cloud in clouds.CLOUDS}) == len(clouds.CLOUDS), "each has a file of its own"
    assert clouds.credentials({"PATH": "/bin"}) == ()


def test_what_is_said_stays_said() -> None:
    assert "AWS_ROLE_SESSION_NAME" not in clouds.variables({**AWS, "AWS_ROLE_SESSION_NAME": "mine"}, "m1")


@pytest.mark.parametrize(
    ("name", "session"), [("web", "web"), ("a b/ü", "a-b--"), ("x", "x-"), ("n" * 99, "n" * 64), ("", "--")]
)
def test_a_session_is_called_as_aws_takes_it(name: str, session: str) -> None:
    assert clouds.variables(AWS, name)["AWS_ROLE_SESSION_NAME"] == session


def test_googles_document() -> None:
    (found,) = clouds.credentials({**GOOGLE, "GCP_SERVICE_ACCOUNT": "a@b.test"})
    document = json.loads(found.documents["gcp_credentials.json"])
    assert document["audience"] == found.audience
    assert document["credential_source"]["file"] == "/.fly/gcp_token"
    assert document["service_account_impersonation_url"].endswith("/serviceAccounts/a@b.test:generateAccessToken")
