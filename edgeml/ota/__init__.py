"""Updates over the air, the device's end: trusted, resumed after power loss, undone by itself."""
