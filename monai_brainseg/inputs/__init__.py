"""Files and folders of every kind, grouped into studies to segment."""
