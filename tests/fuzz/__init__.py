"""Every reader of outside data, given valid data that was broken at random.

``python -m tests.fuzz --seconds 60`` does so for a minute with a fresh seed, and prints what it found.
"""
