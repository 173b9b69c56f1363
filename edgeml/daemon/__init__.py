"""A device as a service: configured by a file, started, watched and ended by systemd."""
