"""The daemon: all volumes of a host, who is attached, and who looks after whom. None of it waits for a disk itself."""
