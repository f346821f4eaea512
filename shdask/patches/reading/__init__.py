"""Patches as samples: pixels of some layers and dates with their masks, read chunk by chunk, in an order.

Refuses to know how patches were chosen.
"""
