"""The embedded simulator: LND's own outcomes, compiled; one network at a time or thousands at once."""
