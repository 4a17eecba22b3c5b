"""Stored samples of every format that an earlier build has written, and tests that this build reads them."""
