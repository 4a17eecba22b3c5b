"""OCI documents as values: config, state, features. Parse errors name the JSON path."""
