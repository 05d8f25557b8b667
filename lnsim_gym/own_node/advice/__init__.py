"""What to change of a node: proposed, guarded, tried side by side with doing nothing, and told."""
