"""containerd drives the containers of a machine: its Task service, as a thin adapter over the pilot API.

    containerd ── containerd-shim-pilot-v2 start ──► the shim of a group ── the dial contract ──► a bare machine
        └──────── ttrpc: containerd.task.{v2,v3}.Task ──────┘     and its containers are the graph's

`main`       the program: `start` and `delete`, which containerd runs
`service`    the methods, as a table
`tasks`      what containerd calls a task: a container, its processes, where their output goes
`process`    the first process of a container, and those that are executed in it
`wanted`     config.json as what the contract can be asked for, or the path to what it cannot
`streams`    FIFOs of containerd's; what a machine tells, from where one was
`group`      who shares a machine, and where it is · `serving` the shim itself
`machine`    the group's machine: made with the first container, ended with the last
`publishing` events, to containerd
`messages`   containerd's messages as values · `protobuf` their encoding · `ttrpc` what carries them
"""
