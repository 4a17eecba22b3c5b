"""The pilot API inside the machine."""
