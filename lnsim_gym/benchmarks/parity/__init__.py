"""The simulator beside real lnd nodes: random networks, what is done to them, and what either makes of it.

``drawing`` draws networks, policies and amounts, ``deeds`` does something to real nodes and says what became of it,
``possible`` asks the simulator what may become of the same, ``run`` does so in mass and ``table`` sums it up.
"""
