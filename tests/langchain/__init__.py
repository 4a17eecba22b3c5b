"""langchain's standard tests of a sandbox (`langchain-tests`), unmodified, on a sprite: `make langchain`."""
