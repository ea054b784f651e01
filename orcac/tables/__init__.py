"""Rows of tables from anywhere: JSON, CSV and Parquet files, compressed or not, well-formed or not.

The bytes of a file decide how it is read (`content.py`, `rows.py`). Its format in the spec, then its name, decide only
between forms of plain text. A row that cannot be read is a `BadRow` among the others, so that the caller can count it
and keep it aside. A file that is cut, or is not a table, is an InputError. A text is UTF-8, or it is bad.

This folder knows neither queries nor recordings: `sample` and `chat` map the rows.
"""
