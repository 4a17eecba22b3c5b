"""A checkpoint of a sprite as an image: `host.shipping` with what it is made from.

The base layer is the archive that the base volume was made of, as it is; the other is what lies between that volume and
the checkpoint (`Looking`), in a file without a name (`Lending`): it goes with whoever holds it, whatever dies.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence

import msgspec

from ... import errors
from ...ids import VolumeId
from ...image.oci import platform
from ...image.oci.digest import Digest
from ...image.oci.documents import Execution
from ...wire import faults, timestamps
from ..operations import base
from ..operations.context import Host
from ..shipping import archive, rules, settings
from ..shipping.archive import Archive, Image, Layer
from ..shipping.layer import Report
from ..shipping.rules import Rule
from ..store import bases
from ..store.checkpoints import Checkpoint
from ..store.sprites import Sprite
from .lending import Lending, Lent
from .looking import Looking, look

MOST_S = 1800.0
_MODULE = "pilot.host.shipping.layer"


class Shipped(msgspec.Struct, frozen=True):
    """`archive` is the caller's to close. `variables`: the names of those that are left out."""

    archive: Archive
    report: Report
    variables: tuple[str, ...]


class Shipping:
    """One at a time for each organisation: it takes long. `looking` is for this alone, so no other waits for it."""

    def __init__(self, host: Host, looking: Looking, lending: Lending) -> None:
        self._host = host
        self._looking = looking
        self._lending = lending
        self._lock = threading.Lock()
        self._under_way: set[str] = set()

    def image(self, sprite: Sprite, point: Checkpoint, wanted: Sequence[Rule] = rules.BUILT_IN) -> Shipped:
        """Takes as long as there are paths, and what was changed is large. As `Looking.difference`; `HostError`, too,
        when the layer is larger than what it was lent (`Lending`)."""
        with self.turn_of(sprite.organisation), contextlib.ExitStack() as stack:
            base_archive, base_volume = self._base()
            lower = stack.enter_context(open(base_archive, "rb"))
            upper = stack.enter_context(self._lending.file(sprite.organisation, "ship"))
            report = self._write(base_volume, sprite, point, wanted, upper)
            origin = settings.Origin(sprite.name, point.id)
            planned = settings.plan(origin, sprite.environment, report.about)
            layers = (
                archive.layer(lower, f"pilot image build world-{self._host.variant}", _digest(lower.name)),
                archive.layer(upper, f"sprite {sprite.name}, {point.id}"),
            )
            made = Archive(self._image(sprite, point, layers, planned.config))
            stack.pop_all()  # its files are the archive's
            return Shipped(made, report, planned.left_out)

    @contextlib.contextmanager
    def turn_of(self, organisation: str) -> Iterator[None]:
        """`Exhausted` while it has another one."""
        with self._lock:
            if organisation in self._under_way:
                hint = "try again when it is made"
                raise faults.Exhausted("ship: another image of this organisation is being made", hint=hint)
            self._under_way.add(organisation)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(organisation)

    def _image(self, sprite: Sprite, point: Checkpoint, layers: tuple[Layer, ...], config: Execution) -> Image:
        created = timestamps.of_us(point.created_us)
        return Image(f"{sprite.name}:{point.id}", created, platform.host(), layers, config)

    def _base(self) -> tuple[str, VolumeId]:
        """The archive of the base volume, and that volume."""
        path = self._host.build_archive()
        found = bases.find(self._host.database, self._host.variant)
        if found is None or base.choose(base.volume_name(path), found, self._host.store_owner) != found:
            hint = "start pilotd anew, which makes it"
            raise errors.HostError(f"ship: the base volume is not of {os.path.basename(path)}", hint=hint)
        return path, found

    def _write(
        self, base_volume: VolumeId, sprite: Sprite, point: Checkpoint, wanted: Sequence[Rule], upper: Lent
    ) -> Report:
        with self._looking.disks([(base_volume, None), (sprite.volume, point.id)], "ship") as fds:
            given = msgspec.json.encode(wanted)
            passed = [*fds, upper.fileno()]
            said = look(_MODULE, "ship", MOST_S, passed, [upper.most_bytes], subprocess.PIPE, given)
        upper.written()
        return msgspec.json.decode(said, type=Report)


@functools.cache
def _digest(path: str) -> Digest:
    """Of an artefact, which is never changed."""
    with open(path, "rb") as file:
        return archive.digest_of(file)
