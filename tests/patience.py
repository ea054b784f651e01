"""The longest wait of a test for something that happens at once, unless the machine is busy with other work."""

PATIENCE_S = 300.0
