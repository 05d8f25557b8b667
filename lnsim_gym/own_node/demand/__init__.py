"""Who pays whom through a node: its past, the demand fitted to that, and environments of the two."""
