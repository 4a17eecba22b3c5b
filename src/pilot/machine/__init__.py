"""The way to a machine: its dial socket, and the pilot API spoken over it."""
