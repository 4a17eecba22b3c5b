"""What an operator runs beside volumed: `pilot volume`, checks, exports, imports. No attached disk depends on it."""
