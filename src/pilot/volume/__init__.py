"""Disks: map, slab, segments, FUSE server, attach; the daemon volumed."""
