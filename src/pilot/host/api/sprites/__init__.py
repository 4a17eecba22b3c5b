"""The Sprites API: what its official clients ask, and in which words they are answered."""
