"""Recipes, folds and seeds, trained and scored into one table."""
