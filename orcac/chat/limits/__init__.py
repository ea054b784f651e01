"""How fast and for how much a model may be asked: the limiter of one job, and what jobs share: accounts and budgets.

Nothing here sends a request or knows an endpoint, an engine or a batch.
"""
