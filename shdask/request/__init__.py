"""How one request to the service is written: bounds, bodies, evalscripts and the collections they name.

Refuses to know who sends a request, or when.
"""
