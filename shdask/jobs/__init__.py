"""Jobs of Async Process from their order to their tiles: ordered, watched, adopted, collected.

Refuses to render, and to know where tiles run.
"""
