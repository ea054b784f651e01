"""Rate: a number for each answer of a dataset, by which questions are chosen and put in order.

It reads all answers, before any filter: a filter would keep the easy ones.
"""
