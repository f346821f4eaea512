"""A cube from tiles: the Zarr hierarchy, the tiles in it, and the ledger of what was sent, paid and written.

Refuses to know HTTP, Dask, and how a tile's pixels were bought.
"""
