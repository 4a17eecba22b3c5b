"""A volume's log in the store: its formats, and the protocol of one holder that appends to it."""
