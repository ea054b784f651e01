"""Publishing a student: export it with a model card, or write it as a delta to its base.

It reads the plan and finished artifacts, and writes folders outside the store. It changes nothing in the store.
"""
