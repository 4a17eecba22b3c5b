"""An open disk and its store: upload, cold reads, and a volume's coming and going between hosts."""
