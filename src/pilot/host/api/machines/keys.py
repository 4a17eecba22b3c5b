"""Calls on secret keys of an app. No answer has a key: they are made here, or brought, and used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec
from starlette.responses import Response

from ....wire import faults, secret_keys
from ...services.fly_keys import FlyKeys
from ...store.fly import App
from . import key_uses, shapes
from .call import Call

Asked = TypeVar("Asked", bound=msgspec.Struct)


async def list_secret_keys(call: Call) -> Response:
    """Of the query's `types`, or of all."""
    found = await asyncio.to_thread(key_uses.list_keys, call.machines.keys, await call.app())
    wanted = {each for each in call.request.query_params.get("types", "").split(",") if each}
    shown = [each for each in found.secret_keys if not wanted or each.type in wanted]
    return _json(secret_keys.SecretKeys(secret_keys=shown))


async def get_secret_key(call: Call) -> Response:
    app, name = await call.app(), call.parameters["key"]
    return _json(await asyncio.to_thread(key_uses.get_key, call.machines.keys, app, name))


async def set_secret_key(call: Call) -> Response:
    """With the bytes that are brought."""
    asked = await call.body(secret_keys.SetSecretKey)
    if asked.value is None:
        raise faults.InvalidRequest("value: is required; generate makes one")
    return await _add(call, asked.type, asked.value)


async def generate_secret_key(call: Call) -> Response:
    return await _add(call, (await call.body(secret_keys.SetSecretKey)).type, None)


async def _add(call: Call, kind: str, value: bytes | None) -> Response:
    app, name = await call.app(), call.parameters["key"]
    row, version = await asyncio.to_thread(call.machines.keys.add, app, name, kind, value)
    shown = msgspec.structs.asdict(shapes.secret_key(row))
    return _json(secret_keys.NewSecretKey(version=version, **shown), 201)


async def delete_secret_key(call: Call) -> Response:
    """One version, or all of a label."""
    version = await asyncio.to_thread(call.machines.keys.remove, await call.app(), call.parameters["key"])
    return _json(secret_keys.SecretKeyVersion(version=version))


async def encrypt(call: Call) -> Response:
    return await _use(call, secret_keys.Encrypt, key_uses.encrypt)


async def decrypt(call: Call) -> Response:
    return await _use(call, secret_keys.Decrypt, key_uses.decrypt)


async def sign(call: Call) -> Response:
    return await _use(call, secret_keys.Sign, key_uses.sign)


async def verify(call: Call) -> Response:
    """204 when it holds."""
    return await _use(call, secret_keys.Verify, key_uses.verify)


async def _use(
    call: Call, kind: type[Asked], use: Callable[[FlyKeys, App, str, Asked], msgspec.Struct | None]
) -> Response:
    asked, app = await call.body(kind), await call.app()
    answer = await asyncio.to_thread(use, call.machines.keys, app, call.parameters["key"], asked)
    return Response(status_code=204) if answer is None else _json(answer)


def _json(answer: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status, media_type="application/json")
