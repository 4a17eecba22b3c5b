"""Both contracts against what serves them, asked by schemathesis (`make contract`)."""
