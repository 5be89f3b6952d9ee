"""Masks and truths become scores: metrics as pure functions, intervals, thresholds, summaries."""
