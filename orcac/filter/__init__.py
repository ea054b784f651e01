"""The kind `filter`: a teacher's responses, split into those to train on and those rejected, each with its reason.

A rule reads one row, or what earlier rows left in memory; it may not ask a model or read a student.
"""
