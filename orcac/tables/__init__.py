"""Tables that other people made: the rows of JSON, CSV and Parquet files, compressed or not, well-formed or not.

The bytes of a file decide how it is read (`content.py`); its name decides only between forms that bytes do not tell
apart. A row that cannot be read is a `BadRow` among the others, so that it can be counted and kept aside; a file that
is cut or is something else is an InputError. Nothing is guessed about a text: it is UTF-8, or it is bad.

This folder knows neither queries nor recordings: those who read them map the rows.
"""
