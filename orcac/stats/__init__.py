"""The statistics of scores: their intervals, the verdict on two arms, and the power of a plan to reach one.

`intervals.py` has the interval and the tests of one score. `compare.py` reads the scores of arms with replicates and
returns their difference with its interval, which covers the luck of items and of training; `averages.py` has the means
that a difference may be of, and `parts.py` is the rule that joins the two kinds of luck. `pairs.py` compares runs
that were made again with those that they repeat. `verdict.py` adjusts a family of comparisons for their number and
decides each one, `wording.py` puts the decisions into words, and `power.py` computes which difference a plan could show
before it runs. docs/measuring.md explains a verdict, and benchmarks/verdicts.py measures how often verdicts are wrong.

Everything here is a pure function of numbers. Scores, differences and intervals are shares (0.031 is 3.1 points);
only `wording.py` writes points. This folder may import no kind and no spec. `orcac diff` and `orcac cost` use `power`,
so all modules but `compare` import numpy and scipy inside their functions: scipy.special takes 0.3 s to import.
"""
