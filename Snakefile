# Runs build/plan.json, which `orcac compile SPEC` writes. The rules are static: there is one for each kind of node, and
# the wildcard `id` selects the node.
import os
import sys

# Snakemake imports from this folder first. Put it last, so that a folder here named orcac is not taken for the package.
sys.path.sort(key=workflow.basedir.__eq__)

from orcac.smk import Rules

PLAN = Rules(config)


# Used only with --software-deployment-method apptainer; ORCAC_IMAGE must then name an image that contains orcac.
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
include: "rules/rate.smk"
include: "rules/student.smk"
include: "rules/tokenize.smk"
include: "rules/train.smk"
include: "rules/eval.smk"
include: "rules/score.smk"
include: "rules/report.smk"
