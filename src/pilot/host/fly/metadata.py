"""A Machine's metadata: words by key, which whoever reads the Machine reads as well. So there are bounds. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ... import errors

MOST_KEYS = 128
MOST_KEY_CHARACTERS = 256
MOST_VALUE_BYTES = 4 << 10
MOST_BYTES = 64 << 10  # keys and values together


def changed(kept: Mapping[str, str], put: Mapping[str, str], drop: Collection[str] = ()) -> dict[str, str]:
    """`kept` without `drop`, with `put`. `SpecError` when that is too much; what only goes never is."""
    made = {key: value for key, value in kept.items() if key not in drop} | dict(put)
    if put:
        check(made)
    return made


def check(metadata: Mapping[str, str]) -> None:
    """`SpecError` for what is beyond the bounds."""
    if len(metadata) > MOST_KEYS:
        raise errors.SpecError("metadata", f"{len(metadata)} keys; {MOST_KEYS} are kept")
    for key, value in metadata.items():
        if not 0 < len(key) <= MOST_KEY_CHARACTERS:
            raise errors.SpecError("metadata", f"a key has 1 to {MOST_KEY_CHARACTERS} characters: {key[:50]!r}")
        if (size := _size(value)) > MOST_VALUE_BYTES:
            raise errors.SpecError("metadata", f"{key[:50]!r}: {size} bytes; a value has {MOST_VALUE_BYTES} at most")
    if (size := sum(_size(key) + _size(value) for key, value in metadata.items())) > MOST_BYTES:
        raise errors.SpecError("metadata", f"{size} bytes; {MOST_BYTES} are kept")


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
