"""shdask turns a large area of interest into one analysis-ready Zarr cube with Sentinel Hub and Dask."""

__version__ = "0.1.0"
