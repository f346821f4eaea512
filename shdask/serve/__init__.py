"""Use of the cube: opening it.

Refuses to know how a cube is planned, fetched or written.
"""
