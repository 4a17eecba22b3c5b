"""Looks after what is stored of all volumes: garbage, compaction, scrubbing."""
