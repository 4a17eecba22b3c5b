"""The containers of the machine, by name: which there are, how they ended. The user's world is the one called `world`.

`naming`    what a container may be called, and what that which belongs to it is called in init's store
`exits`     how its first processes ended: kept, over the agent's death too, until it is acknowledged
`registry`  those that run; each end is noticed once, written down, and told to its owner
`api`       what is told of them
"""
