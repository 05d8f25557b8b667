"""Tasks: what an agent sees, does and is paid for, on whichever world."""
