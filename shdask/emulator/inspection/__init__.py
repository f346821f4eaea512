"""What people and tests see of the emulator: its latest exchanges, recordings and description.

Refuses to influence any answer.
"""
