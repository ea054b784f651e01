"""The kind `collect`: one teacher's response to every prompt of a dataset.

Models are asked through `orcac.chat.ask` alone; nothing here knows an endpoint, a limit or a file of the ledger.
"""
