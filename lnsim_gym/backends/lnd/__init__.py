"""A Lightning network of real lnd nodes on one machine, behind the same interface as the simulator."""
