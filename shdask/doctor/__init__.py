"""Holds a job against what the account and the deployment offer, before anything worth the name is paid.

Refuses to build, and to mend what it finds.
"""
