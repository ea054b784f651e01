"""Stores elsewhere: a lab's shared folder, or a bucket, that artifacts and answers are pushed to and pulled from.

    place      the files of another store: a folder, or any URL that fsspec opens
    url        the second of these
    artifacts  pushing and pulling artifacts
    answers    pushing and pulling the records of a ledger
    transfer   several transfers at once, and their progress
    mirror     the upstream of a study, if it is a URL
    archive    a study in a few tables, for readers and replays
    reproduced the comparison of a replay with its archive

A place is laid out as a store (`store/store.py`), so a folder that was pushed to is one. Everything in it is untrusted.
"""
