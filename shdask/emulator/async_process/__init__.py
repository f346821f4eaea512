"""The Async Process API: a request accepted as a job, which runs by itself and delivers to S3.

Refuses to render.
"""
