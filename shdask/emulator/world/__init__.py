"""The synthetic Earth: pixel = f(longitude, latitude, time, band), the same whichever window asks.

Refuses to hold anything but arithmetic: no array operation here looks beyond its own pixel.
"""
