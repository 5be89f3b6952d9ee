"""Files of images, of every format, as volumes."""
