"""The table of the Sprites API, and how its errors are told."""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.responses import PlainTextResponse, Response

from ....wire import faults
from ....wire.audit import Kind
from ....wire.permissions import Permission
from ...identity.principal import Principal
from ...relay import asgi
from ...relay.access import Access
from ...relay.edge import Exchange, Facade
from ...relay.facade import TableFacade
from ...relay.table import Reach, Row, relayed
from ...services.creation_rate import RateLimited
from ...services.running_limit import TooManyRun
from .. import metrics
from ..call import Call
from . import (
    audit,
    authority,
    checkpoints,
    connectors,
    events,
    images,
    lifecycle,
    network,
    privileges,
    resources,
    shapes,
    spawning,
    sprites,
    tokens,
    usage,
    webhooks,
)

HEADERS: Sequence[tuple[bytes, bytes]] = ((b"sprite-version", shapes.VERSION.encode()),)
Answer = Callable[[Call], Awaitable[Response]]

_ORGANISATION = Permission.ORGANISATION_READ
_TOKENS = Permission.TOKENS
_READ, _WRITE = Permission.SPRITES_READ, Permission.SPRITES_WRITE
_SPAWN, _PRIVILEGES = (f"/v1/sprites/{{name}}/policy/{each}" for each in ("spawn", "privileges"))
_RESOURCES = "/v1/sprites/{name}/policy/resources"
# Of a sprite, and of all that it is put beside.
_PRIVATE = "/v1/sprites/{name}/network/private"
_CONNECTOR = "/v1/sprites/{name}/connectors/{connector}"
_POINTS_READ, _POINTS_WRITE = Permission.CHECKPOINTS_READ, Permission.CHECKPOINTS_WRITE


async def healthz(_: Call) -> Response:
    """That we answer."""
    return PlainTextResponse("ok\n")


# `control` is missing on purpose: 404 is the answer that every client falls back from.
CALLS: tuple[Row[Answer], ...] = (
    Row("GET", "/v1/organization", _ORGANISATION, sprites.get_organisation),
    Row("POST", "/v1/organizations/{organization}/tokens", _TOKENS, tokens.create_token_of_organisation),
    Row("POST", "/v1/tokens", _TOKENS, tokens.create_token),
    Row("GET", "/v1/tokens", _TOKENS, tokens.list_tokens),
    Row("DELETE", "/v1/tokens/{token}", _TOKENS, tokens.revoke_token),
    Row("GET", "/v1/tokens/current", Permission.SELF, authority.get_current, of=Reach.NARROWED),
    Row("GET", "/v1/tokens/third-party", _TOKENS, authority.share_third_party_key),
    Row("POST", "/v1/tokens/third-party", _TOKENS, authority.rotate_third_party_key),
    Row("POST", "/oidc/{organization}/.well-known/macfly/3p", _ORGANISATION, authority.discharge, audit=Kind.TOKEN),
    Row("POST", "/v1/tokens/authenticate", _ORGANISATION, authority.authenticate),
    Row("POST", "/v1/tokens/authorize", _ORGANISATION, authority.authorize),
    Row("GET", "/v1/events", _READ, events.follow_events, of=Reach.NARROWED),
    Row("POST", "/v1/webhooks", _WRITE, webhooks.create_webhook),
    Row("GET", "/v1/webhooks", _WRITE, webhooks.list_webhooks),
    Row("GET", "/v1/webhooks/{webhook}", _WRITE, webhooks.get_webhook),
    Row("PUT", "/v1/webhooks/{webhook}", _WRITE, webhooks.change_webhook),
    Row("DELETE", "/v1/webhooks/{webhook}", _WRITE, webhooks.delete_webhook),
    Row("POST", "/v1/webhooks/{webhook}/ping", _WRITE, webhooks.ping_webhook),
    Row("POST", "/v1/sprites", _WRITE, sprites.create_sprite),
    Row("GET", "/v1/sprites", _READ, sprites.list_sprites, of=Reach.NARROWED),
    Row("GET", "/v1/sprites/{name}", _READ, sprites.get_sprite),
    Row("POST", "/v1/sprites/{name}/fork", _WRITE, sprites.fork_sprites, of=Reach.ORGANISATION),
    Row("PUT", "/v1/sprites/{name}", _WRITE, sprites.update_sprite),
    Row("DELETE", "/v1/sprites/{name}", _WRITE, sprites.destroy_sprite),
    Row("POST", "/v1/sprites/{name}/upgrade", _WRITE, sprites.restart_sprite),
    Row("POST", "/v1/sprites/{name}/restart", _WRITE, sprites.restart_sprite),
    Row("POST", "/v1/sprites/{name}/stop", _WRITE, sprites.stop_sprite),
    Row("POST", "/v1/sprites/{name}/sleep", _WRITE, lifecycle.sleep_sprite),
    Row("POST", "/v1/sprites/{name}/wake", _WRITE, lifecycle.wake_sprite),
    Row("GET", "/v1/sprites/{name}/why", _READ, lifecycle.get_why),
    Row("GET", "/v1/sprites/{name}/holds", _READ, lifecycle.list_holds),
    Row("PUT", "/v1/sprites/{name}/holds/{hold}", _WRITE, lifecycle.put_hold),
    Row("DELETE", "/v1/sprites/{name}/holds/{hold}", _WRITE, lifecycle.release_hold),
    Row("GET", "/v1/sprites/{name}/check", _READ, sprites.check_sprite),
    Row("GET", "/v1/audit", Permission.AUDIT_READ, audit.read_organisation_log),
    Row("GET", "/v1/sprites/{name}/audit", Permission.AUDIT_READ, audit.read_sprite_log),
    Row("GET", "/v1/sprites/{name}/disk", _READ, sprites.get_disk),
    Row("GET", "/v1/sprites/{name}/usage", _READ, usage.get_usage),
    Row("GET", "/v1/sprites/{name}/usage/days", _READ, usage.get_usage_by_day),
    Row("GET", "/v1/usage/days", _READ, usage.get_usage_of_all),
    Row("GET", "/v1/sprites/{name}/policy/network", Permission.NETWORK_READ, network.get_network_policy),
    Row("POST", "/v1/sprites/{name}/policy/network", Permission.NETWORK_WRITE, network.set_network_policy),
    Row("GET", _RESOURCES, _READ, resources.get_resources_policy),
    Row("POST", _RESOURCES, _WRITE, resources.set_resources_policy, audit=Kind.POLICY),
    Row("DELETE", _RESOURCES, _WRITE, resources.delete_resources_policy, audit=Kind.POLICY),
    Row("GET", _SPAWN, _READ, spawning.get_spawn_policy),
    Row(
        "POST",
        _SPAWN,
        _WRITE,
        spawning.set_spawn_policy,
        of=Reach.ORGANISATION,
        audit=Kind.POLICY,
    ),
    Row("DELETE", _SPAWN, _WRITE, spawning.delete_spawn_policy, audit=Kind.POLICY),
    Row("GET", _PRIVILEGES, _READ, privileges.get_privileges_policy),
    Row("POST", _PRIVILEGES, _WRITE, privileges.set_privileges_policy, audit=Kind.POLICY),
    Row("DELETE", _PRIVILEGES, _WRITE, privileges.delete_privileges_policy, audit=Kind.POLICY),
    Row("GET", "/v1/sprites/{name}/network", Permission.NETWORK_READ, network.get_network),
    Row("GET", "/v1/sprites/{name}/network/private", Permission.NETWORK_READ, network.get_private_network),
    Row("PUT", _PRIVATE, Permission.NETWORK_WRITE, network.put_private_network, of=Reach.ORGANISATION),
    Row("GET", "/v1/sprites/{name}/connectors", Permission.CONNECTORS_READ, connectors.list_connectors),
    Row("GET", _CONNECTOR, Permission.CONNECTORS_READ, connectors.get_connector),
    Row("PUT", _CONNECTOR, Permission.CONNECTORS_WRITE, connectors.put_connector),
    Row("DELETE", _CONNECTOR, Permission.CONNECTORS_WRITE, connectors.delete_connector),
    Row("POST", "/v1/sprites/{name}/checkpoint", _POINTS_WRITE, checkpoints.create_checkpoint),
    Row("GET", "/v1/sprites/{name}/checkpoints", _POINTS_READ, checkpoints.list_checkpoints),
    Row("GET", "/v1/sprites/{name}/checkpoints/{checkpoint}", _POINTS_READ, checkpoints.get_checkpoint),
    Row("PUT", "/v1/sprites/{name}/checkpoints/{checkpoint}", _POINTS_WRITE, checkpoints.rename_checkpoint),
    Row("GET", "/v1/sprites/{name}/checkpoints/{checkpoint}/fs/list", Permission.FILES_READ, checkpoints.list_files),
    Row("GET", "/v1/sprites/{name}/checkpoints/{checkpoint}/fs/read", Permission.FILES_READ, checkpoints.read_file),
    Row("GET", "/v1/sprites/{name}/checkpoints/{checkpoint}/diff", _POINTS_READ, checkpoints.compare_checkpoint),
    Row("GET", "/v1/sprites/{name}/checkpoints/{checkpoint}/image", Permission.FILES_READ, images.get_image),
    Row("DELETE", "/v1/sprites/{name}/checkpoints/{checkpoint}", _POINTS_WRITE, checkpoints.delete_checkpoint),
    Row("POST", "/v1/sprites/{name}/checkpoints/{checkpoint}/restore", _POINTS_WRITE, checkpoints.restore_checkpoint),
    Row("HEAD", "/v1/sprites/{name}/exec", Permission.EXEC, sprites.exec_version, audit=Kind.NOTHING),
)
_ISSUER = "/oidc/{organization}/.well-known"
OPEN: tuple[Row[Answer], ...] = (
    Row("GET", "/healthz", None, healthz),
    Row("GET", f"{_ISSUER}/openid-configuration", None, authority.discover_issuer),
    Row("GET", f"{_ISSUER}/jwks.json", None, authority.list_issuer_keys),
    Row("GET", "/v1/audit/key", None, audit.get_key),
    Row("GET", "/metrics", Permission.METRICS, metrics.answer, loopback=True),
)
MACHINE = tuple(relayed("/v1/sprites/{name}"))


class SpritesVoice:
    """`{"error": why, "message": what to do}`, as the official clients read it."""

    headers = HEADERS

    def fault(self, error: BaseException) -> faults.Fault:
        return faults.fault_of(error)

    def refusal(self, error: BaseException, fault: faults.Fault) -> bytes:
        if isinstance(error, RateLimited):
            return json.dumps(shapes.rate_limited(error)).encode()
        if isinstance(error, TooManyRun):
            return json.dumps(shapes.too_many_run(error)).encode()
        text, hint = ("internal error", None) if fault.status == 500 else (str(error), getattr(error, "hint", None))
        return json.dumps({"error": text} | ({"message": hint} if hint else {})).encode()


def facade(access: Access) -> Facade:
    """The Sprites API on what `access` leads to."""
    rows = (*CALLS, *OPEN, *MACHINE)
    return TableFacade(rows, access, SpritesVoice(), functools.partial(_answer, access)).serve


async def _answer(
    access: Access, exchange: Exchange, answer: Answer, parameters: Mapping[str, str], principal: Principal | None
) -> None:
    request = asgi.request_of(exchange)
    response = await answer(Call(request, access, principal, parameters, exchange.hold))
    response.raw_headers += HEADERS
    await asgi.send(exchange, request, response)
