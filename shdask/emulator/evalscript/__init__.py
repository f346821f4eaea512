"""Evalscripts: what setup() declares, and V8 running the rest over arrays.

Refuses to know where pixels come from.
"""
