# Runs build/plan.json, which `orcac compile SPEC` writes. The rules are static: one a kind, a node an id.
import os

from orcac.smk import Rules

PLAN = Rules()


# With --software-deployment-method apptainer alone: name an image that has orcac in it.
container: os.environ.get("ORCAC_IMAGE", "docker://python:3.11-slim")


wildcard_constraints:
    id="[0-9a-f]{20}",
    shard="[0-9]+-of-[0-9]+",


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
