"""The `qemu` substrate: machines as virtual machines, each a clone of a template."""
