"""pilot: PID 1 of a micro-VM that is also a complete OCI runtime, and the sprites built on it."""

__version__ = "0.1.0"
