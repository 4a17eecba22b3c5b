"""pilotd, the orchestrator of one host."""
