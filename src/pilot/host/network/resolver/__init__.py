"""The resolver: a process of its own that answers the questions of all machines, each by its own policy.

    machine ── :53 of anywhere ──► gateway ──► a socket of ours in that gateway: it tells us who asks
        policy by the name asked for ── denied ──► REFUSED, and nobody else is asked
                                     └─ allowed ─► upstream ─► addresses that nobody may reach are left out
                                                   ─► the rest is pinned into the gateway ─► and then answered

If it is not there, nothing is answered and nothing new is pinned. What is pinned, and connections, go on.

    main       the process: zones at the start, the control socket
    zones      the zones of all machines; brings a change into force
    door       sockets in one gateway, datagrams and streams
    lookup     from a query's bytes to an answer's: policy, cache, upstream, pins, log
    messages   what is in queries and answers; pure
    servers    whom to ask, as texts; pure
    upstream   asks the host's resolvers
    pins       which addresses which names have led to, and the gateway's sets
    log        decisions, counted and written down
"""
