"""The service on loopback, for demos, tests and benchmarks.

Refuses to know the client: it imports nothing of ours, so that it cannot agree with the client's mistakes.
"""
