"""The specification of the engine: LND's payments in plain Python, one rule after another, made to be read.

``channel`` has what an end of a channel can spend, ``pathfinding`` the search for a route, ``mission_control`` what a
sender remembers, ``gossip`` how changed policies spread, and ``network`` the payment loop over them; each names the
sources of LND that it follows. The compiled engine is held to it to the msat on random networks
(``tests/backends/simulator/test_engine.py``), and so are real nodes (``tests/parity``). ``engine`` runs the compiled
engine in the same form, ``scenarios`` draws what to try. Nothing of the package depends on it.
"""
