"""What becomes of advice: carried out or noticed, kept in a record, and held to what came."""
