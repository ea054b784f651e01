"""The compiler: from specs to a plan of nodes, each with an id.

    lower      the graph: which nodes a spec needs; recipes from sources, asking and recipes
    node       a node and the rule of its id
    plan       all nodes of the given specs, and the file build/plan.json
    lock       ids that a study is pinned to
    upgrade    finished artifacts that an older orcac made for nodes of the plan
    effect, sharing, deferred, state    questions about a plan: changes, arms, missing parts, progress
    picture/   the plan as an SVG

Modules here read specs, the kinds' `recipe.py` and the store. They make nothing and estimate no cost, import no kind's
`run.py` and no torch, and start in a fraction of a second.
"""
