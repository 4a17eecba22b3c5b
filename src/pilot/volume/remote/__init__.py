"""What of a volume is in an object store: formats, the seam to the store, upload, recovery, cold reads."""
