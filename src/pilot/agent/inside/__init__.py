"""What a sprite finds of us in its own world, below /.sprite: a door of the agent, a command for it, and texts."""
