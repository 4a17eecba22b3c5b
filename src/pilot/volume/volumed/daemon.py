"""volumed: `python -m pilot.volume.volumed.daemon --state-dir DIR`. Ready when `DIR/volumed.sock` can be connected to.

    main thread       waits for SIGTERM or SIGINT
    accept            one thread per connection; requests of joints §6
    watch-worker      one per attached disk: starts another worker when one ends
    watch-zygote      the same for the zygote
    renew             replaces workers of an older build, one after the other, and ends
    gc                collects the store's garbage now and then (`collector`)
    zygote (process)  forked before the first thread, and before what it does not need is imported: each worker would
                      have that memory too, so this module imports nothing more at its top

No thread of it goes to an attached disk itself (`errand`), so that kill -9 always ends it.

On SIGTERM it leaves attached disks to their workers, as on kill -9: the next volumed takes them over. With
--detach-on-exit (tests, a host going down) it detaches everything first.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ... import errors
from ...ids import CheckpointId, VolumeId
from ...kernel import fds as descriptors
from ...kernel import files
from .. import build, layout, messages
from ..answers import Status
from ..facts import Durability
from ..messages import Message
from ..serving import zygote

if TYPE_CHECKING:
    import argparse

    from ..remote.live import depot
    from . import collector, volumes

_log = logging.getLogger(__name__)
SOCKET = "volumed.sock"


class Service:
    """Requests → operations of `volumes`."""

    def __init__(self, store: volumes.Volumes, garbage: collector.Collector | None = None) -> None:
        self._store = store
        self._garbage = garbage
        self._table: dict[str, Callable[[Message], tuple[Message, list[int]]]] = {
            "ping": self._ping,
            "create": self._create, "fork": self._fork, "delete": self._delete, "list": self._list, "stat": self._stat,
            "seal": self._seal, "resize": self._resize, "attach": self._attach, "attach_file": self._attach_file,
            "detach": self._detach, "checkpoint": self._checkpoint, "restore": self._restore,
            "checkpoints": self._checkpoints, "delete_checkpoint": self._delete_checkpoint, "adopt": self._adopt,
            "take_in": self._take_in, "status": self._status, "mend": self._mend,
        }  # fmt: skip

    def serve(self, sock: socket.socket) -> None:
        """Answer one connection until it ends."""
        connection = messages.Connection(sock)
        try:
            while (received := connection.receive()) is not None:
                request, fds = received
                descriptors.close_all(fds)
                self._one(connection, request)
        except errors.PeerError as error:
            _log.warning("client: %s", error)
        finally:
            connection.close()

    def _one(self, connection: messages.Connection, request: Message) -> None:
        op = str(request.get("op"))
        try:
            answer, fds = self._answer(op, request)
        except errors.PilotError as error:
            connection.send(messages.error_answer(error))
            return
        except OSError as error:
            _log.exception("%s", op)
            failed = errors.HostError(f"{op} {request.get('volume', '')}: {error.strerror or error}")
            connection.send(messages.error_answer(failed))
            return
        except Exception as error:  # noqa: BLE001 - the edge: whatever it was, the client must hear of it
            _log.exception("%s", op)
            connection.send(messages.error_answer(error))
            return
        try:
            connection.send({"ok": True, **answer}, fds)
        finally:
            descriptors.close_all(fds)

    def _answer(self, op: str, request: Message) -> tuple[Message, list[int]]:
        if op not in self._table:
            raise errors.PeerError(f"operation {op}: unknown")
        return self._table[op](request)

    def _ping(self, request: Message) -> tuple[Message, list[int]]:
        return {"pid": os.getpid(), "keeper": self._store.attached.keeper_pid, "build": build.identity()}, []

    def _create(self, request: Message) -> tuple[Message, list[int]]:
        self._store.create(_volume(request), _number(request, "size_bytes"))
        return {}, []

    def _fork(self, request: Message) -> tuple[Message, list[int]]:
        self._store.fork(_volume(request, "source"), _volume(request), _checkpoint(request))
        return {}, []

    def _adopt(self, request: Message) -> tuple[Message, list[int]]:
        url = request.get("url")
        self._store.adopt(_volume(request), None if url is None else str(url))
        return {}, []

    def _delete(self, request: Message) -> tuple[Message, list[int]]:
        self._store.delete(_volume(request))
        return {}, []

    def _list(self, request: Message) -> tuple[Message, list[int]]:
        return {"volumes": [dataclasses.asdict(row) for row in self._store.list()]}, []

    def _stat(self, request: Message) -> tuple[Message, list[int]]:
        return {"volume": dataclasses.asdict(self._store.stat(_volume(request)))}, []

    def _seal(self, request: Message) -> tuple[Message, list[int]]:
        self._store.seal(_volume(request))
        return {}, []

    def _resize(self, request: Message) -> tuple[Message, list[int]]:
        self._store.resize(_volume(request), _number(request, "size_bytes"))
        return {}, []

    def _take_in(self, request: Message) -> tuple[Message, list[int]]:
        self._store.take_in(_volume(request), str(request.get("disk")))
        return {}, []

    def _mend(self, request: Message) -> tuple[Message, list[int]]:
        slots = request.get("slots")
        if not isinstance(slots, list) or not all(isinstance(slot, int) and slot > 0 for slot in slots):
            raise errors.PeerError(f"slots are {slots!r}, not numbers")
        return {**self._store.mend(str(request.get("disk")), slots)}, []

    def _status(self, request: Message) -> tuple[Message, list[int]]:
        return dataclasses.asdict(Status(None if self._garbage is None else self._garbage.outcome)), []

    def _attach(self, request: Message) -> tuple[Message, list[int]]:
        uid_base, uid_count = _number(request, "uid_base"), _number(request, "uid_count")
        if not (uid_base >= 0 and uid_count >= 1 and uid_base + uid_count <= 1 << 32):
            raise errors.PilotError(f"attach: {uid_count} ids from {uid_base} on are not a range of ids")
        return {}, [self._store.attach(_volume(request), uid_base, uid_count)]

    def _attach_file(self, request: Message) -> tuple[Message, list[int]]:
        return {}, [self._store.attach_file(_volume(request))]

    def _detach(self, request: Message) -> tuple[Message, list[int]]:
        self._store.detach(_volume(request))
        return {}, []

    def _checkpoint(self, request: Message) -> tuple[Message, list[int]]:
        comment = request.get("comment")
        done = self._store.checkpoint(_volume(request), None if comment is None else str(comment), _checkpoint(request))
        return {"checkpoint": dataclasses.asdict(done)}, []

    def _restore(self, request: Message) -> tuple[Message, list[int]]:
        self._store.restore(_volume(request), _needed_checkpoint(request))
        return {}, []

    def _checkpoints(self, request: Message) -> tuple[Message, list[int]]:
        return {"checkpoints": [dataclasses.asdict(row) for row in self._store.checkpoints(_volume(request))]}, []

    def _delete_checkpoint(self, request: Message) -> tuple[Message, list[int]]:
        self._store.delete_checkpoint(_volume(request), _needed_checkpoint(request))
        return {}, []


def _volume(request: Message, key: str = "volume") -> VolumeId:
    return layout.parse_volume_id(str(request.get(key, "")))


def _checkpoint(request: Message) -> CheckpointId | None:
    text = request.get("checkpoint")
    return None if text is None else layout.parse_checkpoint_id(str(text))


def _needed_checkpoint(request: Message) -> CheckpointId:
    return layout.parse_checkpoint_id(str(request.get("checkpoint", "")))


def _number(request: Message, key: str) -> int:
    value = request.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.PeerError(f"{key} is {value!r}, not a number")
    return value


def _accept(listener: socket.socket, service: Service) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=service.serve, args=(sock,), name="client", daemon=True).start()


def main(arguments: list[str] | None = None) -> None:
    """Run volumed until a signal ends it."""
    logging.basicConfig(level=logging.INFO, format="volumed: %(name)s: %(message)s")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _join_cgroups(os.environ.pop("PILOT_JOIN", ""))
    build.identity()
    spawner = zygote.Zygote()
    options = _parse(arguments)
    os.makedirs(options.state_dir, mode=0o700, exist_ok=True)
    try:
        _run(spawner, options)
    except errors.PilotError as error:
        raise SystemExit(f"volumed: {error}") from error


def _join_cgroups(descriptors: str) -> None:
    """Go where whoever started us wants us, before there are others: what is forked from now on is there, too."""
    for fd in [int(word) for word in descriptors.split(",") if word]:
        os.write(fd, b"0")
        os.close(fd)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    import argparse

    from . import collector

    parser = argparse.ArgumentParser(prog="volumed", description="serves durable disks")
    parser.add_argument("--state-dir", required=True)
    parser.add_argument("--detach-on-exit", action="store_true")
    parser.add_argument("--store", metavar="URL", help="object store: file:///directory, s3://bucket/prefix, ...")
    parser.add_argument("--durability", choices=("local", "remote"), default="local",
                        help="what an fsync of volumes made from now on waits for")  # fmt: skip
    parser.add_argument("--cache-bytes", type=int, help="what a volume's chunks may take here (needs --store)")
    parser.add_argument("--gc-every", type=float, default=collector.DEFAULT_EVERY_H, metavar="HOURS",
                        help="how often to collect the store's garbage; 0: never")  # fmt: skip
    parser.add_argument("--gc-grace", type=float, default=collector.DEFAULT_GRACE_H, metavar="HOURS",
                        help="how long an object must have been unneeded before it is deleted")  # fmt: skip
    return parser.parse_args(arguments)


def _depot(options: argparse.Namespace) -> depot.Depot | None:
    """The object store that was asked for; what speaks to one is loaded only then."""
    if options.store is None:
        return None
    from ..remote.live import depot

    return depot.Depot(options.store, durability=Durability(options.durability), cache_bytes=options.cache_bytes)


def _collector(options: argparse.Namespace) -> collector.Collector | None:
    if options.store is None or options.gc_every <= 0:
        return None
    from . import collector

    if options.gc_grace * 3600 < collector.MIN_GRACE_S:
        raise errors.PilotError(f"grace period of {options.gc_grace} h: at least {collector.MIN_GRACE_S:.0f} s")
    return collector.Collector(
        collector.Schedule(options.store, every_s=options.gc_every * 3600, grace_s=options.gc_grace * 3600)
    )


def _run(spawner: zygote.Zygote, options: argparse.Namespace) -> None:
    from . import volumes

    state_dir, objects, garbage = options.state_dir, _depot(options), _collector(options)
    # What speaks to the store takes long to load, and every worker needs it.
    spawner.load([name for name in sys.modules if name.startswith("pilot.volume.remote.")])
    lock_fd = files.lock(
        os.path.join(state_dir, "volumed.lock"), f"start volumed: {state_dir}: another volumed serves it"
    )  # after the fork: a zygote that outlives us by a moment must not hold it
    store = volumes.Volumes(os.path.join(state_dir, "volumes"), spawner, objects)
    listener = messages.listen(os.path.join(state_dir, SOCKET))
    threading.Thread(target=_accept, args=(listener, Service(store, garbage)), name="accept", daemon=True).start()
    stop = threading.Event()
    watcher = threading.Thread(target=store.attached.watch, args=(stop,), name="watchdog")
    watcher.start()
    threading.Thread(target=spawner.watch, name="watch-zygote", daemon=True).start()
    threading.Thread(target=store.attached.renew, args=(stop,), name="renew", daemon=True).start()
    sender = threading.Thread(target=store.durable.keep_durable, args=(stop,), name="keep-durable")
    sender.start()
    if garbage is not None:
        threading.Thread(target=garbage.loop, args=(stop,), name="gc", daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    stop.set()
    watcher.join()
    sender.join()
    if options.detach_on_exit:
        store.close()
    spawner.close()
    os.close(lock_fd)


if __name__ == "__main__":
    main()
