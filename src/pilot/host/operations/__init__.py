"""What pilotd does to sprites, as operations of `fsm`: data in `table`, the steps in the files beside it.

    create      record → disk → machine → join → boot → world → publish   (fork: `disk` forks another sprite's)
    pool        record → disk → machine → boot → ready               (a create that claims it finds these done)
    wake                                  boot → world → publish
    sleep       freeze → publish                                     (warm; a wake thaws it)
    stop        down → detach → publish
    restart     down → detach → machine → boot → world → publish
    checkpoint  reserve → cut → publish
    restore     choose → save → down → swap → publish → up → prune          (save: an automatic checkpoint)
    destroy     mark → machine → disk → forget
    base        archive → fill → seal → publish → retire

A run's resource is the sprite's id, so that the runs of one sprite follow one another. What a crash leaves between two
steps is what the step before it left; the next process goes on from there.
"""
