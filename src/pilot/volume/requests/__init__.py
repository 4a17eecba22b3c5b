"""What the processes of volumes ask one another, said once for both sides.

    to_volumed   its client: pilotd, `pilot volume`
    to_worker    volumed, of the process that serves an attached disk
    to_zygote    volumed, of the process that forks the others; a guard's thaw
    to_errand    volumed, of a process that does one thing to a disk, by way of the zygote

How it travels is for `volume.messages`; what all have in common, and what may change from build to build, for `base`.
"""
