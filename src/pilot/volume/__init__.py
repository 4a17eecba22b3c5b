"""Durable disks. Each folder says in which process its code runs:

    books/     pure: the map and its records                     anywhere
    disk/      one open disk                                     a worker; volumed, when it is detached
    remote/    the object store: objects/ log/ live/ tending/    where the disk is open; garbage collection
    serving/   FUSE workers, freeze guards, errands              forked by the zygote
    volumed/   the daemon                                        one per state directory
    operator/  `pilot volume`                                    the operator's

In this folder: what they share, and `client`, which is all that the rest of pilot may import.
"""
