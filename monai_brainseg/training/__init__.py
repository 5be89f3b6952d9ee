"""What a training names in its config: batches on the device, networks, handlers, dashboards."""
