# Runs build/plan.json, which `orcac compile SPEC` writes. The rules are static: one a kind, a node an id.
from orcac.smk import Rules


PLAN = Rules()


container: None


rule all:
    input:
        PLAN.targets,


include: "rules/sample.smk"
include: "rules/collect.smk"
include: "rules/filter.smk"
include: "rules/student.smk"
include: "rules/tokenize.smk"
include: "rules/train.smk"
include: "rules/eval.smk"
include: "rules/report.smk"
