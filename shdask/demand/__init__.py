"""Tiles bought when somebody touches them.

Refuses to know who touches, and Dask.
"""
