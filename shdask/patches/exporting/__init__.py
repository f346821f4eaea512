"""Patches for other tools: a Zarr store, WebDataset, GeoTIFFs, and a datasheet.

Refuses to know where pixels come from.
"""
