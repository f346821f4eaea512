"""What to ask for: a job becomes one grid, the tiles that the area touches, and what they cost.

Refuses to know clocks, disks, networks and Dask.
"""
