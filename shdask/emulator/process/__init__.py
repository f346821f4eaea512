"""The Process API: a request read, refused or priced, and turned into a job for a renderer.

Refuses to render.
"""
