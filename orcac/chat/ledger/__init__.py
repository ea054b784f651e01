"""The record of every answer, on disk: appended before an answer counts, and read by every later run.

    ledger     the record itself: append, look up, read back
    record     one record as a line of JSON; what a reader checks
    log        reading a log
    sealed     reading a sealed file, and its columns
    files      the names of both, and opening all of a folder
    entry      an index entry: a record's caps, tokens and position
    index      the entries of all records, in memory
    keys       arrays of request keys
    forgotten  records that no longer settle a request
    sealing    merging dead logs into Parquet files
    following  records as they are added
    upstream   copying the records of another store that are needed
    order      answers in the order of their questions

How a model is asked does not belong here: this room imports no engine, no limits and no endpoint.
"""
