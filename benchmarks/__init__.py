"""Benchmarks: how fast, in the same run as the yardsticks that are named beside it.

harness   contenders in turn, summaries, ratios, JSON          bundles   what all runtimes are given
runtime   the OCI runtime against the C floor, crun and runc   report    results → docs/reference/benchmarks.md
sprite    a sprite's life, by way of a real pilotd             standin   that pilotd, and containers on the same Debian
vm        virtual machines: clones, boots                      memory    what idle sprites cost
volume    durable disks against ext4 on loop                  disks, diskwork   what it compares, and by what

A benchmark is a module with `run(rounds) -> Sequence[Table]`, listed in `__main__`. It never judges: numbers go into
benchmarks/results/, one file per run, with the machine that they were measured on.
"""
