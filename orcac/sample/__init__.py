"""The kind `sample`: the queries of a source, with their system messages.

`formats/` reads files, `pool.py` and `draw.py` choose, `run.py` writes. Everything random comes from digests of the
query (`draw.py`); a shared random generator may not enter, since it would tie each query's fate to all others. No model
is asked here.
"""
