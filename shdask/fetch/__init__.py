"""Bytes from the service, checked before anyone sees a pixel.

Knows HTTP; refuses to know Dask, Zarr and how tiles are stored.
"""
