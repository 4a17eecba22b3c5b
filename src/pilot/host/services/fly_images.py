"""Which images a config means: those of registries and of the store of images, and checkpoints of sprites.

    sprite://NAME/CHECKPOINT     of the app's organisation; its disk is forked as it is, and nothing is copied

Such an image has a digest, too: of which sprite and checkpoint it is, which stands for what is on its disk. What is run
of it, is seen when the Machine has its root (`operations.fly_looks`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec

from ... import errors
from ...image.oci import digest as digests
from ...image.oci import reference
from ...image.oci.documents import Execution
from ...wire import faults
from ..fly import config as configs
from ..fly.config import Config
from ..fly.containers import SPRITE, ImageOf, OfCheckpoint
from ..operations import disks, image_base
from ..operations.context import Host
from ..shipping import settings
from ..store import checkpoints, sprites

MayRead = Callable[[str], bool]  # the sprite of that id


def nobodys(_: str) -> bool:
    """For who has no say about sprites."""
    return False


class FlyImages:
    def __init__(self, host: Host) -> None:
        self._host = host

    def find(
        self, organisation: str, config: Config, may_read: MayRead, known: Sequence[ImageOf] = ()
    ) -> tuple[ImageOf, ...]:
        """For each container. `known`: what the Machine has; a checkpoint among these may have gone meanwhile.
        `SpecError`, `NotFound`; `PeerError` of a registry."""
        had = {(each.container, each.reference): each for each in known if each.of is not None}
        wanted, found = configs.images(config), []
        texts = dict.fromkeys(text for text in wanted.values() if not text.startswith(SPRITE))
        looks = [functools.partial(self._of_registry, text) for text in texts]
        asked = dict(zip(texts, disks.at_once(looks), strict=True))
        for container, text in wanted.items():
            if text in asked:
                found.append(msgspec.structs.replace(asked[text], container=container))
            elif (container, text) in had:
                found.append(had[container, text])
            else:
                found.append(self._of_sprite(organisation, container, text, may_read))
        return tuple(found)

    def _of_registry(self, text: str) -> ImageOf:
        """Asked once, however many containers are of it."""
        image = image_base.images_of(self._host).find(text)
        volume = image_base.volume_name(image.digest, self._host.store_owner)
        return ImageOf("", str(reference.parse(text)), image.digest, volume, image.config.config or Execution())

    def _of_sprite(self, organisation: str, container: str, text: str, may_read: MayRead) -> ImageOf:
        name, slash, id = text.removeprefix(SPRITE).partition("/")
        if not (name and slash and id):
            raise errors.SpecError("config.image", f"{text[:200]!r} is not {SPRITE}NAME/CHECKPOINT")
        sprite = sprites.by_name(self._host.database, organisation, name)
        if sprite.phase == "destroying" or not may_read(sprite.id):
            raise errors.NotFound("sprite not found")
        point = checkpoints.find(self._host.database, sprite.id, id)
        digest = digests.of(f"{SPRITE}{sprite.id}/{point.id}".encode())
        volume = image_base.volume_name(digest, self._host.store_owner)
        if self._host.volumes.stat(sprite.volume).vm:
            raise faults.Unsupported(f"sprite {sprite.name} is a virtual machine: no container has its disk")
        of = OfCheckpoint(sprite.id, point.id, dict(sprite.environment))
        return ImageOf(container, text, digest, volume, settings.of_nothing_seen(sprite.name, point.id), of)
