"""The cost of a plan before anything runs: `bill` prices nodes and adds costs up. docs/cost-model.md has the model.

A cost is computed from the plan, and from the records and the ledger of the store. Nothing here enters an id, asks a
model, or imports torch.
"""
