"""Connectors: credentials that machines use and never have. A process of its own, for all machines.

    machine ── name of a connector? ──► resolver ── the gateway's own address ──► machine
            ── TLS, port 443 ──► gateway ──► a socket of ours in that gateway: it tells us who asks
        SNI is a connector's name ─► TLS with a certificate of that sprite's own authority
        Host is the same name, the head is sound ─► the credential is attached
        ─► TLS to the real host, verified, from inside of the gateway: where the machine may not go, we cannot either
        answers pass as they are; one that says the credential back is cut off before it does

If it is not there, connections to these names are refused. Nothing else of a machine's network depends on it.

    connector    what a connector is, and how each kind attaches its secret to a request's headers; pure
    authority    a sprite's own authority, which can speak for its connectors' names alone
    grants       what the process is told of one machine, as a file; secrets are sealed in it
    head         which requests are passed on, and what of them; pure
    echo         whether what passes says a secret; pure
    names        where the real host is
    outside      a connection to the real host
    passing      one connection of a machine: request after request
    desk         sockets, certificates and connections of one machine
    desks        of all machines; brings a change into force
    uses         what was asked of whom, counted and written down
    main         the process
"""
