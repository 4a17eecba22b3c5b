"""Services: what a sprite's user wants to run by itself. Containers of the graph, within the world.

    <disk>/pilot/services.json     `book`: what was asked for, and what was stopped; on the sprite's own disk, so that a
                                   checkpoint has it, a fork begins with it, and a restore brings it back
    graph                          what runs: one container for each, `service-N`; it restarts, waits and backs off
    `stream`                       what one does, for as long as somebody asked to be told
    `api`                          the nine calls

Nothing is remembered here: the book is read when it is asked for, and the graph knows what runs.
"""
