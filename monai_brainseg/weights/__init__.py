"""Files of trained weights, and the patients that they were trained on."""
