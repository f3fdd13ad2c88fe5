"""The page of a run: one HTML file with interactive figures, which opens from disk."""
