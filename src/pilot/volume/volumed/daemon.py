"""volumed: `python -m pilot.volume.volumed.daemon --state-dir DIR`. Ready when `DIR/volumed.sock` can be connected to.

    main thread       waits for SIGTERM or SIGINT
    accept            one thread per connection; `service`
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

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from ... import errors
from ...kernel import files
from .. import build, messages
from ..facts import Durability
from ..serving import zygote

if TYPE_CHECKING:
    import argparse

    from ..remote.live import depot
    from . import collector

SOCKET = "volumed.sock"


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
    from . import service, volumes

    state_dir, objects, garbage = options.state_dir, _depot(options), _collector(options)
    # What speaks to the store takes long to load, and every worker needs it.
    spawner.load([name for name in sys.modules if name.startswith("pilot.volume.remote.")])
    lock_fd = files.lock(
        os.path.join(state_dir, "volumed.lock"), f"start volumed: {state_dir}: another volumed serves it"
    )  # after the fork: a zygote that outlives us by a moment must not hold it
    store = volumes.Volumes(os.path.join(state_dir, "volumes"), spawner, objects)
    listener = messages.listen(os.path.join(state_dir, SOCKET))
    served = service.Service(store, garbage)
    accepting = (listener, served.serve, "client")
    threading.Thread(target=messages.serve_each, args=accepting, name="accept", daemon=True).start()
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
