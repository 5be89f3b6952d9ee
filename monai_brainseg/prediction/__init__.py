"""Studies become masks on their own grid, with a record of each."""
