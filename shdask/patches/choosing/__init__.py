"""Choosing patches: where they may lie, which are good enough, what they show, and which set each belongs to.

Refuses to know how samples are read.
"""
