"""The daemons: their programs, images, files and records, and the ways of running them."""
