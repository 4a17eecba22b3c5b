"""The containers that a host wants to run, as a graph: what depends on what, what is started again, what is healthy.

    PUT ─► checking ─► wanted (a document in init's store)
                          │
    what has happened ─► state.Node (one document each) ─► deciding ─► actions ─► supervisor ─► runtime, kernel
                          ▲                                                          │
                          └──────────── ends, probes, starts ◄────────────────────────┘

`checking`    what is refused, with the path to it: pure
`state`       what is known of one container, and how it changes: pure
`health`      what the results of checks say: pure
`deciding`    from all that is wanted and known, and the time, to the next actions, and why: pure
`supervisor`  carries them out, and writes down what came of it
`instance`    one start of one container: runtime, files, mounts; `container_spec` its config.json as a value
`log`         what a container writes, kept over its restarts and the agent's death
`probing`     asks http, tcp and exec checks
`api`         the endpoints

Nothing is decided twice from memory: an agent that dies between any two lines leaves documents, from which the next
one goes on. A start that was begun and is not known to have come about is undone, and done again.
"""
