"""Training of the learned operator by evolution strategies in the corridor engine."""
