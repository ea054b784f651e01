"""Publishing a dataset: the kept answers of a teacher as Parquet and JSON Lines, with a dataset card."""
