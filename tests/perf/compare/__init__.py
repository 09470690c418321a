"""The guide's two loops and the product's modes side by side: scripts/compare-modes."""
