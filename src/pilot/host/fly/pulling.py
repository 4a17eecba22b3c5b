"""Images for Machines: found where they are called what a config says, and brought here by their digest.

What the operator has pulled or imported (`pilot image`) is taken as it is; anything else is asked of its registry. What
is brought for a base volume has a name of its own in the store (REPOSITORY@DIGEST), and is forgotten when the base is
there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence

from ... import errors
from ...image.oci import platform, reference, source, unpack
from ...image.oci.digest import Digest
from ...image.oci.documents import Image
from ...image.oci.reach import Address, Guarded
from ...image.oci.reference import Reference
from ...image.oci.store import Store
from ...images import origins
from ...images.origins import NO_INSECURE, Insecure

MOST_KNOWN = 64


class _Known(dict[Digest, Image]):
    """What was found of late; the oldest goes first. Safe to use from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __setitem__(self, digest: Digest, image: Image) -> None:
        with self._lock:
            if len(self) >= MOST_KNOWN:
                del self[next(iter(self))]
            super().__setitem__(digest, image)


@dataclasses.dataclass(frozen=True)
class Images:
    """`insecure`: registries without TLS; `permits`: where they, and what they lead to, may be, and else they are
    wherever the operator names one. Safe to use from any thread; every call may take as long as a registry."""

    store: Store
    insecure: Insecure = NO_INSECURE
    permits: Callable[[Address], bool] = lambda _: True
    _known: _Known = dataclasses.field(default_factory=_Known, repr=False, compare=False)

    def _way(self) -> Guarded:
        return Guarded(self.permits, self.insecure, hint="pilotd serve --allow-registry")

    def find(self, text: str) -> Image:
        """What an image is that is called so. `SpecError`, `NotFound`, `PeerError`. A registry is asked each time what
        the name stands for by now, and only of what is new what that is."""
        wanted = reference.parse(text)
        with contextlib.suppress(errors.NotFound):
            return self.store.find(str(wanted)).image
        with origins.of_registry(wanted, self.insecure, self._way) as origin:
            return source.find(origin, platform.host(), wanted.digest, self._known)

    def bring(self, text: str, digest: Digest) -> Image:
        """The image of that digest is here, whole. As `find`."""
        with contextlib.suppress(errors.NotFound):
            return self.store.find(digest).image
        pinned = _pinned(text, digest)
        with origins.of_registry(pinned, self.insecure, self._way) as origin:
            return self.store.bring(origin, str(pinned), platform.host(), digest).image

    def has(self, digest: str) -> bool:
        """Whether it is in the store, under whatever name."""
        try:
            self.store.find(digest)
        except errors.NotFound:
            return False
        return True

    def layers(self, image: Image) -> Iterator[unpack.Stored]:
        return self.store.layers(image)

    def forget(self, text: str, digest: Digest) -> Sequence[str]:
        """What was brought for a base; not what the operator has called something else."""
        try:
            return self.store.remove(str(_pinned(text, digest)))
        except errors.NotFound:
            return ()


def _pinned(text: str, digest: Digest) -> Reference:
    return dataclasses.replace(reference.parse(text), tag=None, digest=digest)
