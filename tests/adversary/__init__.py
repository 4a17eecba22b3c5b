"""Those who try to break the walls, on a real pilotd: `make adversary`.

`inside`           probes by a process in a sprite, as root and as the user; they ask the kernel, never pilot
`test_inside`      that each of them was refused
`test_neighbours`  what one sprite takes, and what its neighbour has left
`test_floods`      crowds of clients from outside, while a neighbour counts its rows
`rows`             what is tried and what holds it, as docs/reference/isolation.md tells it

`make test` runs `test_inside` only, which is quick. PILOT_ADVERSARY_ISOLATION=vm chooses virtual machines;
PILOT_ADVERSARY_REPORT=<page> has the table in that page written anew.
"""
