"""Protocols as bytes <-> events and message schemas; no sockets, no clock."""
