"""orcac compiles experiments: a declarative spec becomes a content-addressed Snakemake DAG and a report.

The flow of data, and of this package:

    spec.yaml -> spec/ (the language) -> plan/ (nodes and their ids) -> build/plan.json
              -> Snakefile + rules/*.smk -> `orcac make KIND/ID` -> one package per kind:
    sample -> collect -> filter -> tokenize -> train -> eval -> score -> report   (and student, rate)

The kinds share `chat/` (asking models), `model/` (model folders), `checkers/` (final answers), `puzzles/` (generated
tasks) and `store/` (artifacts). `cost/` prices a plan before it runs, `publish/` exports students, `cli/` is the
command line. Imports point one way; `.importlinter` has the contracts.

No module imports torch at start-up: only `model`, `student` and `train` import it, when they run.
"""

__version__ = "0.1.0"
