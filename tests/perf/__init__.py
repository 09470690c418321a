"""Benchmarks: they print numbers and judge nothing. Run them with scripts/bench."""
