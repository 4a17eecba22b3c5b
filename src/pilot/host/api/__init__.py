"""The Sprites API over HTTP: `app` (JSON and relayed calls), `upgrade` (WebSockets, raw bytes after the handshake)."""
