"""The kind `eval`: a student's or a baseline's answers to the items of a benchmark, and their scores.

Comparisons between arms are made in `report/`, and may not enter: an evaluation knows one model and one benchmark.
"""
