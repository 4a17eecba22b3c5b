"""The table of the Machines API, and how its errors are told."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ....wire.audit import Kind
from ....wire.permissions import Permission
from ...identity.principal import Principal
from ...relay import asgi
from ...relay.access import Access
from ...relay.edge import Exchange, Facade
from ...relay.facade import TableFacade
from ...relay.table import Reach, Row
from ...services.fly import REGION, FlyMachines, LeaseHeld
from ...services.fly_wait import Missed
from . import apps, audit, connectors, document, logs, machines, processes, volumes
from . import keys as key_calls
from . import secrets as secret_calls
from .call import Call

Answer = Callable[[Call], Awaitable[Response]]
PREFIXES = (b"/v1/apps", b"/v1/platform", b"/spec")
DOCUMENT = "/spec/openapi3.json"
_READ, _WRITE, _EXEC = Permission.MACHINES_READ, Permission.MACHINES_WRITE, Permission.EXEC
_APP = "/v1/apps/{app}"
_ALL = f"{_APP}/machines"
_ONE = f"{_ALL}/{{machine}}"
_VOLUMES, _SECRETS = f"{_APP}/volumes", f"{_APP}/secrets"
_VOLUME = f"{_VOLUMES}/{{volume}}"
_KEYS = f"{_APP}/secretkeys"
_KEY = f"{_KEYS}/{{key}}"
METADATA = "metadata"  # of a machine, as Fly's caveats call it
_CONNECTORS = f"{_APP}/connectors"
_CONNECTOR = f"{_CONNECTORS}/{{connector}}"


async def list_regions(_: Call) -> Response:
    """This host is one."""
    return JSONResponse({"Regions": [{"code": REGION, "name": "this host", "capacity": 1}], "nearest": REGION})


@functools.cache
def _document() -> bytes:
    return msgspec.json.encode(document.document(CALLS))


async def get_document(_: Call | None) -> Response:
    """For everybody: it has nothing of anybody."""
    return Response(_document(), media_type="application/json")


CALLS: tuple[Row[Answer], ...] = (
    Row("GET", DOCUMENT, None, get_document),
    Row("GET", "/v1/apps", _READ, apps.list_apps, of=Reach.NARROWED),
    Row("POST", "/v1/apps", _WRITE, apps.create_app),
    Row("GET", _APP, _READ, apps.get_app),
    Row("DELETE", _APP, _WRITE, apps.delete_app),
    Row("POST", f"{_APP}/deploy_token", Permission.TOKENS, apps.create_deploy_token),
    Row("GET", f"{_APP}/ip_assignments", _READ, apps.list_addresses),
    Row("POST", f"{_APP}/ip_assignments", _WRITE, apps.assign_address),
    Row("GET", _ALL, _READ, machines.list_machines),
    Row("POST", _ALL, _WRITE, machines.create_machine),
    Row("GET", _ONE, _READ, machines.get_machine),
    Row("POST", _ONE, _WRITE, machines.update_machine),
    Row("PUT", _ONE, _WRITE, machines.update_machine),
    Row("DELETE", _ONE, _WRITE, machines.destroy_machine),
    Row("POST", f"{_ONE}/start", _WRITE, machines.start_machine),
    Row("POST", f"{_ONE}/stop", _WRITE, machines.stop_machine),
    Row("POST", f"{_ONE}/restart", _WRITE, machines.restart_machine),
    Row("POST", f"{_ONE}/suspend", _WRITE, machines.suspend_machine),
    Row("POST", f"{_ONE}/cordon", _WRITE, machines.cordon_machine),
    Row("POST", f"{_ONE}/uncordon", _WRITE, machines.uncordon_machine),
    Row("GET", f"{_ONE}/wait", _READ, machines.wait_machine),
    Row("GET", f"{_ONE}/events", _READ, machines.list_events),
    Row("GET", f"{_ONE}/versions", _READ, machines.list_versions),
    Row("POST", f"{_ONE}/exec", _EXEC, machines.execute),
    Row("GET", f"{_ONE}/lease", _READ, machines.get_lease),
    Row("POST", f"{_ONE}/lease", _WRITE, machines.acquire_lease),
    Row("DELETE", f"{_ONE}/lease", _WRITE, machines.release_lease),
    Row("GET", f"{_ONE}/metadata", _READ, machines.get_metadata, feature=METADATA),
    Row("PUT", f"{_ONE}/metadata", _WRITE, machines.put_metadata, feature=METADATA),
    Row("PATCH", f"{_ONE}/metadata", _WRITE, machines.put_metadata, feature=METADATA),
    Row("GET", f"{_ONE}/metadata/{{key}}", _READ, machines.get_metadata_key, feature=METADATA),
    Row("POST", f"{_ONE}/metadata/{{key}}", _WRITE, machines.set_metadata_key, feature=METADATA),
    Row("DELETE", f"{_ONE}/metadata/{{key}}", _WRITE, machines.delete_metadata_key, feature=METADATA),
    Row("POST", f"{_ONE}/signal", _WRITE, processes.send_signal),
    Row("GET", f"{_ONE}/audit", Permission.AUDIT_READ, audit.read_machine_log),
    Row("GET", f"{_ONE}/logs", _READ, logs.read_logs),
    Row("GET", f"{_ONE}/ps", _READ, processes.list_processes),
    Row("GET", f"{_ONE}/memory", _READ, processes.get_memory),
    Row("PUT", f"{_ONE}/memory", _WRITE, processes.set_memory),
    Row("GET", _VOLUMES, _READ, volumes.list_volumes),
    Row("POST", _VOLUMES, _WRITE, volumes.create_volume),
    Row("GET", _VOLUME, _READ, volumes.get_volume),
    Row("PUT", _VOLUME, _WRITE, volumes.update_volume),
    Row("DELETE", _VOLUME, _WRITE, volumes.destroy_volume),
    Row("PUT", f"{_VOLUME}/extend", _WRITE, volumes.extend_volume),
    Row("GET", f"{_VOLUME}/snapshots", _READ, volumes.list_snapshots),
    Row("POST", f"{_VOLUME}/snapshots", _WRITE, volumes.create_snapshot),
    Row("GET", _SECRETS, _READ, secret_calls.list_secrets),
    Row("POST", _SECRETS, _WRITE, secret_calls.update_secrets, audit=Kind.SECRET),
    Row("GET", f"{_SECRETS}/{{secret}}", _READ, secret_calls.get_secret),
    Row("POST", f"{_SECRETS}/{{secret}}", _WRITE, secret_calls.set_secret, audit=Kind.SECRET),
    Row("DELETE", f"{_SECRETS}/{{secret}}", _WRITE, secret_calls.delete_secret, audit=Kind.SECRET),
    Row("GET", _KEYS, _READ, key_calls.list_secret_keys),
    Row("GET", _KEY, _READ, key_calls.get_secret_key),
    Row("POST", _KEY, _WRITE, key_calls.set_secret_key, audit=Kind.SECRET),
    Row("DELETE", _KEY, _WRITE, key_calls.delete_secret_key, audit=Kind.SECRET),
    Row("POST", f"{_KEY}/generate", _WRITE, key_calls.generate_secret_key, audit=Kind.SECRET),
    Row("POST", f"{_KEY}/encrypt", _WRITE, key_calls.encrypt, audit=Kind.SECRET),
    Row("POST", f"{_KEY}/decrypt", _WRITE, key_calls.decrypt, audit=Kind.SECRET),
    Row("POST", f"{_KEY}/sign", _WRITE, key_calls.sign, audit=Kind.SECRET),
    Row("POST", f"{_KEY}/verify", _WRITE, key_calls.verify, audit=Kind.SECRET),
    Row("GET", _CONNECTORS, Permission.CONNECTORS_READ, connectors.list_connectors),
    Row("GET", _CONNECTOR, Permission.CONNECTORS_READ, connectors.get_connector),
    Row("PUT", _CONNECTOR, Permission.CONNECTORS_WRITE, connectors.put_connector),
    Row("DELETE", _CONNECTOR, Permission.CONNECTORS_WRITE, connectors.delete_connector),
    Row("GET", "/v1/platform/regions", _READ, list_regions, of=Reach.NARROWED),
)

# Clients act on the status: 400 ends their loops, 408 is asked again, 412 is a state, 409 a lease.
_STATUSES: tuple[tuple[type[BaseException], int, str], ...] = (
    (Missed, 408, "deadline_exceeded"),
    (LeaseHeld, 409, "aborted"),
    (faults.DeadlineExceeded, 408, "deadline_exceeded"),
    (errors.Conflict, 422, "already_exists"),
    (errors.StateError, 412, "failed_precondition"),
    (faults.Unsupported, 400, "unimplemented"),
)


def fault_of(error: BaseException) -> faults.Fault:
    """How it is told here."""
    found = next((row for row in _STATUSES if isinstance(error, row[0])), None)
    return faults.fault_of(error) if found is None else faults.Fault(found[0], found[2], found[1])


class MachinesVoice:
    """`{"error": "<code>: text"}`, as Fly's clients read it."""

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Another id for each answer."""
        return ((b"fly-request-id", secrets.token_hex(13).upper().encode()),)

    def fault(self, error: BaseException) -> faults.Fault:
        return fault_of(error)

    def refusal(self, error: BaseException, fault: faults.Fault) -> bytes:
        text = "internal error" if fault.status == 500 else str(error)
        return json.dumps({"error": f"{fault.code}: {text}", "status": "unknown"}).encode()


def facade(access: Access, fly: FlyMachines) -> Facade:
    """The Machines API, for who is let in by `access`."""
    return TableFacade(CALLS, access, MachinesVoice(), functools.partial(_answer, fly, access)).serve


async def _answer(
    fly: FlyMachines,
    access: Access,
    exchange: Exchange,
    answer: Answer,
    parameters: Mapping[str, str],
    principal: Principal | None,
) -> None:
    request = asgi.request_of(exchange)
    if principal is None:
        response = await get_document(None)
    else:
        call = Call(request, fly, access.authority, principal, parameters, access.auditing, exchange.hold)
        response = await answer(call)
    response.raw_headers += MachinesVoice().headers
    await asgi.send(exchange, request, response)
