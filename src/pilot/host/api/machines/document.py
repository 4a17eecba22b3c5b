"""The OpenAPI document of the Machines API, made of its table: what is asked, what is answered, in which form.

Served at `GET /spec/openapi3.json`, to everybody. Where it is otherwise than the official document is told in
docs/reference/machines.md, with the client that forces it.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from ....wire import secret_keys
from ....wire.permissions import Permission
from ...fly.config import Config
from ...relay.table import Row
from ..sprites import bodies as sprite_bodies
from . import answers, bodies

JSON = dict[str, object]
T = TypeVar("T")  # whatever answers the calls of a table
_REF = "#/components/schemas/{name}"
_CONFIG: JSON = {"$ref": _REF.format(name="Config")}
# Configs are kept whole: of what has no type here the document says nothing.
_CONFIGURED = {"CreateMachine": "config", "Machine": "config", "MachineVersion": "user_config"}
_TAGS = {
    "/machines": "Machines", "/volumes": "Volumes", "/secret": "Secrets", "/connectors": "Connectors",
    "/platform": "Platform",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Said:
    """Of one call: its operationId, the body that it takes, what it answers (None: nothing), its query's parameters."""

    name: str
    answer: type | None
    body: type | None = None
    status: int = 200
    query: Sequence[str] = ()
    many: bool = False
    lines: bool = False  # of JSON, whose shapes are told elsewhere


_APP = "/v1/apps/{app}"
_ALL = f"{_APP}/machines"
_ONE = f"{_ALL}/{{machine}}"
_LEASE, _METADATA = f"{_ONE}/lease", f"{_ONE}/metadata"
_VOLUMES, _SECRETS = f"{_APP}/volumes", f"{_APP}/secrets"
_VOLUME, _SECRET = f"{_VOLUMES}/{{volume}}", f"{_SECRETS}/{{secret}}"
_KEYS = f"{_APP}/secretkeys"
_KEY = f"{_KEYS}/{{key}}"
_CONNECTORS = f"{_APP}/connectors"
_CONNECTOR = f"{_CONNECTORS}/{{connector}}"

SAID: dict[tuple[str, str], Said] = {
    ("GET", "/v1/apps"): Said("Apps_list", answers.Apps, query=("org_slug",)),
    ("POST", "/v1/apps"): Said("Apps_create", answers.App, bodies.CreateApp, 201),
    ("GET", _APP): Said("Apps_show", answers.App),
    ("DELETE", _APP): Said("Apps_delete", None, status=202),
    ("POST", f"{_APP}/deploy_token"): Said("App_create_deploy_token", answers.DeployToken, bodies.CreateDeployToken),
    ("GET", f"{_APP}/ip_assignments"): Said("App_IPAssignments_list", answers.IPAssignments),
    ("POST", f"{_APP}/ip_assignments"): Said("App_IPAssignments_create", answers.IPAssignment, bodies.AssignIP),
    ("GET", _ALL): Said("Machines_list", answers.Machine, query=("include_deleted", "region", "state"), many=True),
    ("POST", _ALL): Said("Machines_create", answers.Machine, bodies.CreateMachine),
    ("GET", _ONE): Said("Machines_show", answers.Machine),
    ("POST", _ONE): Said("Machines_update", answers.Machine, bodies.CreateMachine),
    ("PUT", _ONE): Said("Machines_replace", answers.Machine, bodies.CreateMachine),
    ("DELETE", _ONE): Said("Machines_delete", answers.Ok, query=("force", "kill")),
    ("POST", f"{_ONE}/start"): Said("Machines_start", answers.Started),
    ("POST", f"{_ONE}/stop"): Said("Machines_stop", answers.Ok, bodies.StopMachine),
    ("POST", f"{_ONE}/restart"): Said("Machines_restart", answers.Ok, query=("force_stop", "timeout", "signal")),
    ("POST", f"{_ONE}/suspend"): Said("Machines_suspend", answers.Ok),
    ("POST", f"{_ONE}/cordon"): Said("Machines_cordon", answers.Ok),
    ("POST", f"{_ONE}/uncordon"): Said("Machines_uncordon", answers.Ok),
    ("GET", f"{_ONE}/wait"): Said(
        "Machines_wait", answers.Waited, query=("state", "timeout", "version", "instance_id")
    ),
    ("GET", f"{_ONE}/events"): Said("Machines_list_events", answers.MachineEvent, query=("limit",), many=True),
    ("GET", f"{_ONE}/versions"): Said("Machines_list_versions", answers.MachineVersion, many=True),
    ("POST", f"{_ONE}/exec"): Said("Machines_exec", answers.Executed, bodies.Exec),
    ("GET", _LEASE): Said("Machines_show_lease", answers.Lease),
    ("POST", _LEASE): Said("Machines_create_lease", answers.Lease, bodies.AcquireLease, 201, query=("ttl",)),
    ("DELETE", _LEASE): Said("Machines_release_lease", answers.Ok),
    ("GET", _METADATA): Said("Machines_show_metadata", dict),
    ("PUT", _METADATA): Said("Machines_replace_metadata", None, bodies.Metadata, 204),
    ("PATCH", _METADATA): Said("Machines_patch_metadata", None, bodies.Metadata, 204),
    ("GET", f"{_METADATA}/{{key}}"): Said("Machines_show_metadata_key", answers.MetadataEntry),
    ("POST", f"{_METADATA}/{{key}}"): Said("Machines_update_metadata", None, bodies.MetadataValue, 204),
    ("DELETE", f"{_METADATA}/{{key}}"): Said("Machines_delete_metadata", None, status=204),
    ("GET", f"{_ONE}/audit"): Said("Machines_read_audit_log", None, query=("since", "follow"), lines=True),
    ("GET", f"{_ONE}/logs"): Said("Machines_read_logs", None, query=("container", "since", "follow"), lines=True),
    ("POST", f"{_ONE}/signal"): Said("Machines_signal", answers.Ok, bodies.Signal),
    ("GET", f"{_ONE}/ps"): Said("Machines_list_processes", answers.Process, query=("sort_by", "order"), many=True),
    ("GET", f"{_ONE}/memory"): Said("Machines_show_memory", answers.MachineMemory),
    ("PUT", f"{_ONE}/memory"): Said("Machines_set_memory", answers.MachineMemory, bodies.Memory),
    ("GET", _VOLUMES): Said("Volumes_list", answers.Volume, many=True),
    ("POST", _VOLUMES): Said("Volumes_create", answers.Volume, bodies.CreateVolume),
    ("GET", _VOLUME): Said("Volumes_get_by_id", answers.Volume),
    ("PUT", _VOLUME): Said("Volumes_update", answers.Volume, bodies.UpdateVolume),
    ("DELETE", _VOLUME): Said("Volumes_delete", answers.Volume),
    ("PUT", f"{_VOLUME}/extend"): Said("Volumes_extend", answers.Extended, bodies.ExtendVolume),
    ("GET", f"{_VOLUME}/snapshots"): Said("Volumes_list_snapshots", answers.VolumeSnapshot, many=True),
    ("POST", f"{_VOLUME}/snapshots"): Said("Volumes_create_snapshot", answers.VolumeSnapshot),
    ("GET", _SECRETS): Said("Secrets_list", answers.AppSecrets, query=("show_secrets", "min_version")),
    ("POST", _SECRETS): Said("Secrets_update", answers.AppSecrets, bodies.Secrets),
    ("GET", _SECRET): Said("Secret_get", answers.AppSecret),
    ("POST", _SECRET): Said("Secret_create", answers.AppSecret, bodies.SetSecret, 201),
    ("DELETE", _SECRET): Said("Secret_delete", answers.SecretsVersion),
    ("GET", _KEYS): Said("Secretkeys_list", secret_keys.SecretKeys, query=("min_version", "types")),
    ("GET", _KEY): Said("Secretkey_get", secret_keys.SecretKey),
    ("POST", _KEY): Said("Secretkey_set", secret_keys.NewSecretKey, secret_keys.SetSecretKey, 201),
    ("DELETE", _KEY): Said("Secretkey_delete", secret_keys.SecretKeyVersion),
    ("POST", f"{_KEY}/generate"): Said("Secretkey_generate", secret_keys.NewSecretKey, secret_keys.SetSecretKey, 201),
    ("POST", f"{_KEY}/encrypt"): Said("Secretkey_encrypt", secret_keys.Encrypted, secret_keys.Encrypt),
    ("POST", f"{_KEY}/decrypt"): Said("Secretkey_decrypt", secret_keys.Decrypted, secret_keys.Decrypt),
    ("POST", f"{_KEY}/sign"): Said("Secretkey_sign", secret_keys.Signed, secret_keys.Sign),
    ("POST", f"{_KEY}/verify"): Said("Secretkey_verify", None, secret_keys.Verify, 204),
    ("GET", _CONNECTORS): Said("Connectors_list", answers.Connectors),
    ("GET", _CONNECTOR): Said("Connector_get", answers.ConnectorWithUses),
    ("PUT", _CONNECTOR): Said("Connector_put", answers.Connector, sprite_bodies.PutConnector),
    ("DELETE", _CONNECTOR): Said("Connector_delete", None, status=204),
    ("GET", "/v1/platform/regions"): Said("Platform_regions_get", answers.Regions),
}


def document(rows: Iterable[Row[T]]) -> JSON:
    """Of the calls of that table that want a token."""
    paths: dict[str, JSON] = {}
    for row in rows:
        if row.permission is not None:
            paths.setdefault(row.path, {})[row.method.lower()] = _operation(row.method, row.path, row.permission)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Machines API as pilotd serves it", "version": "1.0",
            "description": "Fly's Machines API, as far as it is listed here.", "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in ("Apps", *_TAGS.values())],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _operation(method: str, path: str, permission: Permission) -> JSON:
    said = SAID[method, path]
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", path)]
    parameters += [_parameter(name, "query") for name in said.query]
    shown: JSON = {
        "operationId": said.name,
        "tags": [next((tag for part, tag in _TAGS.items() if part in path), "Apps")],
        "summary": f"Wants the permission {permission.value}.",
        "parameters": parameters,
        "responses": {
            str(said.status): _response(said),
            "default": _described("refused", answers.Failure),
        },
    }
    if said.body is not None:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=said.body.__name__)}}}
        is_required = any(field.required for field in msgspec.structs.fields(said.body))
        shown["requestBody"] = {"content": content, "required": is_required}
    return shown


def _parameter(name: str, place: str) -> JSON:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _response(said: Said) -> JSON:
    if said.lines:
        return {"description": "line by line", "content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
    return {"description": "nothing to say"} if said.answer is None else _described("as asked", said.answer, said.many)


def _described(what: str, kind: type, many: bool = False) -> JSON:
    one: JSON = {"$ref": _REF.format(name=kind.__name__)}
    if kind is dict:
        one = {"type": "object", "additionalProperties": {"type": "string"}}
    schema = {"type": "array", "items": one} if many else one
    return {"description": what, "content": {"application/json": {"schema": schema}}}


@functools.cache
def _schemas() -> dict[str, JSON]:
    kinds = {
        kind for said in SAID.values() for kind in (said.answer, said.body) if kind is not None and kind is not dict
    }
    by_name = sorted(kinds | {answers.Failure, Config}, key=lambda kind: kind.__name__)
    _, found = msgspec.json.schema_components(
        by_name, schema_hook=lambda _: {"description": "anything"}, ref_template=_REF
    )
    for name, field in _CONFIGURED.items():
        found[name]["properties"][field] = _CONFIG
    return found
