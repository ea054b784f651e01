"""The kind `score`: the answers of one model to one benchmark, read and scored by checkers.

It reads answers and asks nothing, so another checker takes seconds and no GPU. Comparisons between arms are made in
`report/`, and may not enter: a score knows one model and one benchmark.
"""
