"""sentinelhub-py's process requests by their own names, sent through shdask's request and fetch rooms.

Refuses to know cubes, tiles and Dask.
"""
