"""Tokenizing and packing: kept examples in, rows of a fixed number of tokens out, ready to train on.

Encoding a conversation is `model/chat_format.py`, so that inference uses the same one; the order of the rows in
training is `train/data.py`. This room imports torch only through `model`, and drops or changes no example except those
that are too long for a row.
"""
