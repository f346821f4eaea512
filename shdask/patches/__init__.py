"""Patches: pictures of one size cut from cubes, chosen, kept apart, read and exported for training.

Refuses to know how pixels were bought.
"""
