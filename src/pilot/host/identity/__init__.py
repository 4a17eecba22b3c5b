"""Who asks: from what a request carries to a principal, and what that one may do."""
