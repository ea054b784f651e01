"""The record of every answer, on disk: appended before an answer counts, and read by every later run.

    ledger     the record itself: append, look up, read back
    record     one record as a line of JSON; what a reader checks
    files      logs and sealed files, and reading them
    index      the records' keys, caps and tokens in memory
    keys       arrays of request keys
    sealing    merging dead logs into Parquet files
    following  records as they are added
    order      answers in the order of their questions

How a model is asked does not belong here: this room imports no engine, no limits and no endpoint.
"""
