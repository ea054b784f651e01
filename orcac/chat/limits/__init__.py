"""The limits for asking a model: the limiter of one job, and the accounts and budgets that jobs share.

Nothing here sends a request or knows an endpoint, an engine or a batch.
"""
