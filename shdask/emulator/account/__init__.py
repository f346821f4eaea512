"""One account with the service: its tokens, its limits and what it may ask about them.

Refuses to know what requests are about.
"""
