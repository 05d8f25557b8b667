"""Money in mass: no millisatoshi appears or is lost, and every balance follows from the payments that settled."""
