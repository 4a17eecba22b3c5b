"""Credentials of clouds for what runs in the machine, without a key anywhere in it.

`clouds`   which environment asks for which token, where it goes, and what processes are told of it: pure
`broker`   gets the tokens from the host, writes them before they are needed, and keeps them fresh
"""
