"""The OCI lifecycle as a library."""
