"""The daemons btcd and lnd: their programs, images, flags, files and records, the chain, and the launchers.

What lies here knows processes, containers and files. Channels, payments and policies are known to ``network``, and
how an lnd is spoken to, to ``rpc``.
"""
