"""Signatures in the form of Standard Webhooks, for which most languages have a library. Pure.

    webhook-id          the same in every attempt, so that a receiver can tell what it has already
    webhook-timestamp   of this attempt, in seconds; receivers refuse what is old, which is a replay
    webhook-signature   v1,base64( HMAC-SHA256( key, id "." timestamp "." body ) )

A secret is `whsec_` and the key in base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping

_PREFIX = "whsec_"
_KEY_BYTES = 32


def new_secret() -> str:
    return _PREFIX + base64.b64encode(os.urandom(_KEY_BYTES)).decode()


def headers(secret: str, id: str, at_s: int, body: bytes) -> Mapping[str, str]:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    made = hmac.new(key, f"{id}.{at_s}.".encode() + body, hashlib.sha256)
    signature = "v1," + base64.b64encode(made.digest()).decode()
    return {"webhook-id": id, "webhook-timestamp": str(at_s), "webhook-signature": signature}
