"""Stands in for torchvision, whose wheel cannot be imported beside a CPU build of torch; the server only imports it."""
