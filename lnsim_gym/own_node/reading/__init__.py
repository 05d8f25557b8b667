"""A node read: what its programs export or itself tells, taken, checked, and kept in a folder."""
