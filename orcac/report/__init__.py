"""The report of one spec: gather numbers from the artifacts of every arm, compare the arms, and render the page.

It reads artifacts and writes text. It asks no model, makes no artifact other than its own, and imports no torch.
"""
