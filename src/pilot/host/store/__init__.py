"""What pilotd knows, in one database: `database` says what that is, `sqlite` is the one there is.

The truth about what *exists* on this host; what *runs* is asked of the kernel. A row and the event that tells of it are
written in one transaction. The SQL keeps to what PostgreSQL has too.
"""
