"""Scores by a judge: the prompts, the reading of its reviews, the asking, and the scores of questions.

    prompts/      the shipped prompts, one YAML file each, in the form that specs may use for their own
    reading.py    the parsers of reviews, by the names that a prompt's `reads` gives
    pairs.py      which answers are shown to the judge, in which order
    asking.py     one response for each of them, through `orcac.chat` or from a recording
    review.py     the review that a response holds
    judged.py     the scores of questions, `scores.parquet` and `reviews.parquet`

`orcac.rate` uses the same prompts and parsers for the points of a dataset's answers. The statistics of judgements are
in `orcac.stats.judging`. The texts of answers are untrusted: `orcac.slots` puts them between marks that they cannot
contain.
"""
