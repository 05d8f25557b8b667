"""A node's books: what each channel earned, what its refills cost and brought, in words and on a page."""
