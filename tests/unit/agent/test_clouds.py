"""What an environment asks for of its clouds, and what it is told: the table, row by row."""

from __future__ import annotations

import json
import re
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
            {"GOOGLE_APPLICATION_CREDENTIALS": "/.fly/gcp_credentials-DIGEST.json"},
        ),
        (AZURE, "api://AzureADTokenExchange", {"AZURE_FEDERATED_TOKEN_FILE": "/.fly/azure_token"}),
        (VAULT, "https://vault.test:8200", {"VAULT_JWT_FILE": "/.fly/vault_token-DIGEST"}),
    ],
)  # fmt: skip
def test_a_row(environment: Mapping[str, str], audience: str, variables: Mapping[str, str]) -> None:
    (found,) = clouds.credentials(environment)
    assert found.audience == audience
    told = {
        name: re.sub("-[0-9a-f]{16}", "-DIGEST", value) for name, value in clouds.variables(environment, "m1").items()
    }
    assert told == variables
    for missing in environment:
        fewer = {name: value for name, value in environment.items() if name != missing}
        assert clouds.credentials(fewer) == ()
        assert clouds.credentials({**fewer, missing: ""}) == (), "nothing is no role"


@pytest.mark.parametrize("cloud", clouds.CLOUDS, ids=lambda cloud: cloud.name)
def test_who_brings_a_way_of_their_own_is_left_to_it(cloud: clouds.Cloud) -> None:
    environment = dict.fromkeys(cloud.wants, "x")
    assert clouds.credentials(environment)
    for own in cloud.instead:
        assert clouds.credentials({**environment, own: "mine"}) == ()
        assert clouds.variables({**environment, own: "mine"}, "m1") == {}


def test_all_at_once_and_none() -> None:
    assert len(clouds.credentials({**AWS, **GOOGLE, **AZURE, **VAULT})) == len(clouds.CLOUDS)
    every = {**AWS, **GOOGLE, **AZURE, **VAULT}
    assert len({each.token for each in clouds.credentials(every)}) == len(clouds.CLOUDS), "each has a file of its own"
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
    [text] = found.documents.values()
    document = json.loads(text)
    assert document["audience"] == found.audience
    assert document["credential_source"]["file"] == f"/.fly/{found.token}"
    assert document["service_account_impersonation_url"].endswith("/serviceAccounts/a@b.test:generateAccessToken")


def test_two_environments_of_a_container_have_each_what_they_asked_for() -> None:
    """Also where the provider is the same, and only the account another one."""
    one, other = ({**GOOGLE, "GCP_SERVICE_ACCOUNT": f"{name}@b.test"} for name in "xy")
    (both,) = clouds.credentials(one, other)
    for environment, account in ((one, "x@b.test"), (other, "y@b.test")):
        place = clouds.variables(environment, "m1")["GOOGLE_APPLICATION_CREDENTIALS"]
        assert account in both.documents[place.removeprefix("/.fly/")]
    vaults = [{**VAULT, "VAULT_ADDR": f"https://{name}.test"} for name in "xy"]
    found = {f"/.fly/{each.token}": each.audience for each in clouds.credentials(*vaults)}
    assert {found[clouds.variables(each, "m1")["VAULT_JWT_FILE"]] for each in vaults} == {
        "https://x.test",
        "https://y.test",
    }
