"""The kind `eval`: a model's answers to the items of a benchmark, as it gave them.

It generates and nothing else: answers are read and scored in `score/`, so that another checker asks no model again.
"""
