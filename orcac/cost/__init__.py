"""What a plan costs before it runs: `bill` says it; docs/cost-model.md states the model."""
