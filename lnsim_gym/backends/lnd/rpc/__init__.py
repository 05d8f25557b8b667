"""Speaking to lnd over gRPC: the calls, the client, and the messages."""
