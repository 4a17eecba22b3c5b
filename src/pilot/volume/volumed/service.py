"""What volumed's clients ask, carried out on its volumes: a table of request and operation."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ... import errors
from ...kernel import fds as descriptors
from .. import build, messages
from ..layout import parse_checkpoint_id, parse_volume_id
from ..requests import to_volumed, to_worker
from ..requests.base import Answer, AnyRequest, Doers, Failure, R, op_of

if TYPE_CHECKING:
    from . import collector, volumes

_log = logging.getLogger(__name__)
_DONE = Answer()
Made = tuple[Answer, Sequence[int]]  # with descriptors, which are the answer's


class Service:
    """Requests → operations of `volumes`."""

    def __init__(self, store: volumes.Volumes, garbage: collector.Collector | None = None) -> None:
        self._store = store
        self._garbage = garbage
        self.doers = Doers[None, Made]()
        self._add_what_is_told()
        self._add_what_is_done()
        self._add_what_is_handed_out()

    def serve(self, sock: socket.socket) -> None:
        """Answer one connection until it ends."""
        connection = messages.Connection(sock)
        try:
            for request, fds in connection.requests(to_volumed.KINDS):
                descriptors.close_all(fds)
                self._one(connection, request)
        except errors.PeerError as error:
            _log.warning("client: %s", error)
        finally:
            connection.close()

    def _one(self, connection: messages.Connection, request: AnyRequest) -> None:
        try:
            answer, fds = self.doers.do(None, request)
        except errors.PilotError as error:
            connection.send(Failure.of(error))
            return
        except OSError as error:
            _log.exception("%s", request)
            failed = errors.HostError(f"{op_of(request)} {getattr(request, 'volume', '')}: {error.strerror or error}")
            connection.send(Failure.of(failed))
            return
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was, the client must hear of it
            _log.exception("%s", request)
            connection.send(Failure.of(error))
            return
        try:
            connection.send(answer, fds)
        finally:
            descriptors.close_all(fds)

    # ---- what is told

    def _add_what_is_told(self) -> None:
        store, told = self._store, self._told
        told(to_volumed.Ping, lambda _: self._alive())
        told(to_volumed.List, lambda _: to_volumed.Volumes(store.list()))
        told(to_volumed.Stat, lambda asked: to_volumed.OneVolume(store.stat(parse_volume_id(asked.volume))))
        told(to_volumed.Status, lambda _: self._status())
        told(
            to_volumed.ListCheckpoints,
            lambda asked: to_volumed.Checkpoints(store.checkpoints(parse_volume_id(asked.volume))),
        )
        told(to_volumed.MakeCheckpoint, self._checkpoint)
        told(to_volumed.Mend, self._mend)

    def _told(self, kind: type[R], tell: Callable[[R], Answer]) -> None:
        self.doers.add(kind, lambda _, request: (tell(request), ()))

    def _alive(self) -> to_volumed.Alive:
        return to_volumed.Alive(os.getpid(), self._store.attached.keeper_pid, build.identity())

    def _status(self) -> to_volumed.OnItsOwn:
        gc = self._garbage.outcome if self._garbage else None
        read_only = {str(volume): left for volume, left in self._store.read_only().items()}
        return to_volumed.OnItsOwn(gc=gc, read_only=read_only, free_bytes=self._store.free_bytes())

    def _checkpoint(self, asked: to_volumed.MakeCheckpoint) -> to_volumed.OneCheckpoint:
        name = None if asked.checkpoint is None else parse_checkpoint_id(asked.checkpoint)
        return to_volumed.OneCheckpoint(self._store.checkpoint(parse_volume_id(asked.volume), asked.comment, name))

    def _mend(self, asked: to_volumed.Mend) -> to_worker.Mended:
        return self._store.mend(asked.disk, asked.slots)

    # ---- what is done

    def _add_what_is_done(self) -> None:
        store, done = self._store, self._done
        done(to_volumed.Create, lambda asked: store.create(parse_volume_id(asked.volume), asked.size_bytes))
        done(to_volumed.Fork, self._fork)
        done(to_volumed.Adopt, lambda asked: store.adopt(parse_volume_id(asked.volume), asked.url))
        done(to_volumed.Delete, lambda asked: store.delete(parse_volume_id(asked.volume)))
        done(to_volumed.Seal, lambda asked: store.seal(parse_volume_id(asked.volume)))
        done(to_volumed.Resize, lambda asked: store.resize(parse_volume_id(asked.volume), asked.size_bytes))
        done(to_volumed.Limit, lambda asked: store.limit(parse_volume_id(asked.volume), asked.quota_bytes))
        done(to_volumed.TakeIn, lambda asked: store.take_in(parse_volume_id(asked.volume), asked.disk))
        done(to_volumed.Detach, lambda asked: store.detach(parse_volume_id(asked.volume)))
        done(
            to_volumed.Restore,
            lambda asked: store.restore(parse_volume_id(asked.volume), parse_checkpoint_id(asked.checkpoint)),
        )
        done(
            to_volumed.DeleteCheckpoint,
            lambda asked: store.delete_checkpoint(parse_volume_id(asked.volume), parse_checkpoint_id(asked.checkpoint)),
        )

    def _done(self, kind: type[R], do: Callable[[R], None]) -> None:
        def made(_: None, request: R) -> Made:
            do(request)
            return _DONE, ()

        self.doers.add(kind, made)

    def _fork(self, asked: to_volumed.Fork) -> None:
        checkpoint = None if asked.checkpoint is None else parse_checkpoint_id(asked.checkpoint)
        self._store.fork(parse_volume_id(asked.source), parse_volume_id(asked.volume), checkpoint)

    # ---- what is handed out

    def _add_what_is_handed_out(self) -> None:
        self._handed_out(to_volumed.Attach, self._attach)
        self._handed_out(to_volumed.AttachFile, lambda asked: self._store.attach_file(parse_volume_id(asked.volume)))

    def _handed_out(self, kind: type[R], open_it: Callable[[R], int]) -> None:
        self.doers.add(kind, lambda _, request: (_DONE, (open_it(request),)))

    def _attach(self, asked: to_volumed.Attach) -> int:
        base, count = asked.uid_base, asked.uid_count
        if not (base >= 0 and count >= 1 and base + count <= 1 << 32):
            raise errors.PilotError(f"attach: {count} ids from {base} on are not a range of ids")
        return self._store.attach(parse_volume_id(asked.volume), base, count)
