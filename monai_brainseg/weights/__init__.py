"""Files of trained weights, and whom they have seen."""
