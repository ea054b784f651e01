"""orcac compiles experiments: a declarative spec becomes a content-addressed Snakemake DAG and a report.

The way of the data, and of this package:

    spec.yaml -> spec/ (the language) -> plan/ (nodes and their ids) -> build/plan.json
              -> Snakefile + rules/*.smk -> `orcac make KIND/ID` -> one package a kind:
    sample -> collect -> filter -> tokenize -> train -> eval -> report     (student beside tokenize)

Nothing here imports torch at start-up; only `student`, `tokenize`, `train`, `eval` and `chat.local` do, when they run.
"""

__version__ = "0.1.0"
