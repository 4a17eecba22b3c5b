"""The network of machines: out by NAT, through a gateway that the host owns, and only where a policy lets them.

    outside ◄── host ══ pn…═outside ══ gateway (policy, NAT, accounting, anti-spoof) ══ inside═eth0 ══ machine
                                            ▲ :53
                                        resolver (a process of its own, with a socket in every gateway)

Each machine has a gateway: a network namespace that belongs to the host and that only host and machine are linked to.
The machine's own namespace belongs to its world, whose root may change what is in it and gains nothing by that.

    addresses   a range of the host's, cut up: two addresses at each end, by a number that the store hands out
    policy      rules of names: what a sprite may ask for, parsed and decided; pure
    plan        links, addresses, nftables scripts as values; pure
    apply       carries plans out by rtnetlink and libnftables
    zone        what the resolver is told of one machine, as a file
    resolver/   answers names by policy and pins addresses into the gateway before the answer leaves
"""
