"""The Catalog API: what was acquired where and when, over the same scenes that Process draws.

Refuses to draw pixels.
"""
