"""Object stores: the seam to one, and those that are spoken to."""
