"""Uses of keys, asked of the host with the machine's own token."""

from __future__ import annotations

from typing import TypeVar

from ...wire import faults, operations, outward, secret_keys
from ...wire.operations import Operation
from ...wire.secret_keys import SecretKeys
from ..identity.own_token import OwnToken
from ..outward import Outward

_ASK_S = operations.QUICK_S / 2
Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
# How long a signature is that is in front of its message, by the type of the key.
SIGNATURE_BYTES = {"es256": 64, "nacl_sign": 64, "hs256": 32, "hs384": 48, "hs512": 64, "nacl_auth": 32}


class Uses:
    """On the running loop. Errors are the host's: `Unavailable` where no pilotd answers."""

    def __init__(self, host: Outward, token: OwnToken) -> None:
        self._host = host
        self._token = token

    async def list_keys(self) -> SecretKeys:
        return await self._ask(outward.LIST_KEYS, None)

    async def encrypt(self, key: str, text: bytes) -> bytes:
        return (await self._ask(outward.ENCRYPT, secret_keys.Encrypt(plaintext=text), key)).ciphertext

    async def decrypt(self, key: str, text: bytes) -> bytes:
        return (await self._ask(outward.DECRYPT, secret_keys.Decrypt(ciphertext=text), key)).plaintext

    async def sign(self, key: str, text: bytes) -> bytes:
        return (await self._ask(outward.SIGN, secret_keys.Sign(plaintext=text), key)).signature

    async def verify(self, key: str, text: bytes) -> bytes:
        """The message, of a signature and its message; `InvalidRequest` for one that does not hold."""
        kind = (await self._ask(outward.GET_KEY, None, key)).type
        size = SIGNATURE_BYTES.get(kind, 0)
        signature, message = text[:size], text[size:]
        await self._ask(outward.VERIFY, secret_keys.Verify(plaintext=message, signature=signature), key)
        return message

    async def _ask(self, operation: Operation[Asked, Answered], asked: Asked, key: str = "") -> Answered:
        """Once more with another token, where the host has refused this one."""
        try:
            return await self._call(operation, asked, key)
        except faults.Unauthenticated:
            self._token.refused()
            return await self._call(operation, asked, key)

    async def _call(self, operation: Operation[Asked, Answered], asked: Asked, key: str) -> Answered:
        shown = await self._token.get()
        return await self._host.call(
            operation, asked, _ASK_S, authorization=shown, app=outward.OWN_APP, **({"key": key} if key else {})
        )
