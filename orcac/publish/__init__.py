"""Publishing: export a student with a model card, or as a delta to its base, and a dataset with a dataset card.

It reads the plan and finished artifacts, and writes folders outside the store. It changes nothing in the store.
"""
