"""pilotd's listener: every byte from a client comes in here, and nothing of a machine is reached but by its table.

    client ─ edge (connection) ─ reader (requests) ─► facade by Host ─► table ─┬► ours: starlette's Request and Response
                                                                               ├► calls: one request, one answer
                                                                               └► upgrades: bytes, after the 101 only

A facade is a function that serves an Exchange. Another one (URLs of sprites, port forwards) joins by the function from
host and path to facades that the server is given; it brings a table and a way to open a machine, and no relay.
"""
