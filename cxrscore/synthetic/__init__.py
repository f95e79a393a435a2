"""Synthetic chest films: phantoms for the demo, for training on them, and for tests."""
