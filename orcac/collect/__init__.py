"""The kind `collect`: one teacher's response to every prompt of a dataset.

Models are asked through `orcac.chat.ask` alone, and recordings are read by `orcac.chat.endpoints.replay`. Nothing here
knows a server, a limit or a file of the ledger.
"""
