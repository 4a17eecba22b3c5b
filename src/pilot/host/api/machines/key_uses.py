"""What is done with a secret key of an app, as it is asked and answered: the same for people and for the app's own
Machines. All of it may block."""

from __future__ import annotations

from ....wire import secret_keys
from ...services.fly_keys import FlyKeys
from ...store.fly import App
from . import shapes


def list_keys(keys: FlyKeys, app: App) -> secret_keys.SecretKeys:
    return secret_keys.SecretKeys(secret_keys=[shapes.secret_key(row) for row in keys.every(app)])


def get_key(keys: FlyKeys, app: App, name: str) -> secret_keys.SecretKey:
    """The version that is named; of a label the newest."""
    return shapes.secret_key(keys.find(app, name))


def encrypt(keys: FlyKeys, app: App, name: str, asked: secret_keys.Encrypt) -> secret_keys.Encrypted:
    made = keys.encrypt(app, name, asked.plaintext, asked.associated_data or b"")
    return secret_keys.Encrypted(ciphertext=made)


def decrypt(keys: FlyKeys, app: App, name: str, asked: secret_keys.Decrypt) -> secret_keys.Decrypted:
    made = keys.decrypt(app, name, asked.ciphertext, asked.associated_data or b"")
    return secret_keys.Decrypted(plaintext=made)


def sign(keys: FlyKeys, app: App, name: str, asked: secret_keys.Sign) -> secret_keys.Signed:
    return secret_keys.Signed(signature=keys.sign(app, name, asked.plaintext))


def verify(keys: FlyKeys, app: App, name: str, asked: secret_keys.Verify) -> None:
    keys.verify(app, name, asked.plaintext, asked.signature)
