"""/.sprite/checkpoints: the newest checkpoints of a sprite's disk, each mounted when somebody first looks into it."""
