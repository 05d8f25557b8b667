"""How fast everything is. Each benchmark prints what it measured, on which machine, with which versions."""
