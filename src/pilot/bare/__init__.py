"""`pilot machine`: a machine without pilotd, for whoever wants to try pilot, and the verbs that drive any machine.

`main`      the command line: `start` and `stop` here, all other verbs are `pilot.machine`'s
`machines`  a bare machine: a user-namespaced container with init and agent, in a directory of its own
"""
