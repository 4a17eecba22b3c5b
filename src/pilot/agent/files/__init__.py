"""The fs calls: what they do, in a process of the world, and how the agent has it done.

    client ◄─HTTP─► fs_api (agent) ◄─pool, one packet each way─► child: in the world's namespaces, as the world's root
                        │                                            │
                        └── descriptors of files, of rows to tell ◄──┘

The agent opens, lists, changes nothing of the world itself: a child does, with no more rights than the world's root,
and whatever it waits for (a FUSE server that has gone, a disk that hangs) holds that child alone, which can be killed.

`text`        names that are not UTF-8, as JSON and URLs carry them
`tree`        a walk that neither recurses nor runs out of descriptors
`operations`  the work, on a `rootfs.Root`
`messages`    what agent and child say to each other
`child`       enters the world, serves one request after the other
`pool`        the agent's side
"""
