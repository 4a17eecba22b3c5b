"""The runc-compatible command line; one file per verb; never asyncio."""
