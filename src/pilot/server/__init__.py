"""asyncio around wire: listeners, routing, deadlines, back-pressure, client."""
