"""What runs inside the environments of their own; only `edgeml_workers` is seen from there."""
