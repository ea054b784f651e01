"""Asking a model, whatever its role (teacher, judge, baseline, student), and recording every answer.

`ask` is the façade that other rooms use. Below it, `engine` asks one endpoint, `endpoints/` has one module per way to
ask, `batch/` uses the Batch API, `limits/` holds rates and budgets, and `ledger/` records the answers.

This room knows requests, responses and settings. A spec, a plan, a prompt file or a dataset may not enter it.
"""
