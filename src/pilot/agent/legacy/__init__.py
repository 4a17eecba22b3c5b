"""A machine for hosts that knew the init before this one: its run.json becomes containers, its six routes answer.

    run.json ─► planning ─► two containers of the graph:  app    the root, with a reaper as its PID 1
       │                                                  main   the process that is wanted, in it
       ├─► places     drives and directories, mounted where containers may have their roots
       └─► life       begun ► runs ► ended ► told ► the machine ends; the lines that parsers of its log know
                        └─► console    what main writes, on the machine's console

`switch` is always loaded, and all that a machine without a run.json has of this. `routes` answer at port 10000 then;
the pilot API is at port 10003, there as on any machine.

What main is told, and what is told of it, goes the ways that any container's goes: nothing here waits for a process,
counts on a second, or reads the kernel's log.
"""
