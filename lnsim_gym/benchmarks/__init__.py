"""How fast everything is. Each benchmark says what it measured, on which machine, with which versions."""
