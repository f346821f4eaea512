"""The child processes that turn a job into a file: scenes to samples, samples through the script, outputs to bytes.

Refuses to know HTTP, tokens and limits.
"""
