"""Speaking to one lnd over gRPC, given its endpoint: messages, calls, a client with deadlines, the thread they run on.

Who started the lnd, and what the calls are for, is not known here.
"""
