"""Launchers of the daemons, one module each: containers, processes, or nodes that others run; ``choose`` picks one.

All that needs POSIX lives here: signals, sessions, child processes that die with their parent.
"""
