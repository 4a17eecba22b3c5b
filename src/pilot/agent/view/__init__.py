"""What the world is shown as the kernel's own words about its machine: its limits, where the kernel knows the host's.

    facts    the world's cgroups and the kernel's files → Facts          (`probe`)
    texts    Facts and the kernel's text → the text that is shown         pure
    server   one FUSE mount at <run>/view, one file a text               (a thread of the agent)
    places   which file is bound where in the world

Texts are made when they are read: an idle world costs nothing, and a change of size shows at once. Uptime and boot
time are the kernel's own, in a time namespace of the world.
"""
