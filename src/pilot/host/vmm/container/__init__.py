"""The `container` substrate: machines as outer containers of our own runtime."""
