"""What is counted and measured over patches and tiles: valid and clear pixels, and statistics of bands.

Refuses to know what is done with the figures.
"""
