"""What a node earned held to what the simulation foretells, and other policies played in the same weeks."""
