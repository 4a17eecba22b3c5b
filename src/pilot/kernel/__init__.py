"""The only package that touches kernel objects."""
