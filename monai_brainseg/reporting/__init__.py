"""Scores become one page and its tables."""
