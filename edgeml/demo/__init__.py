"""The demonstration: real recordings, a real broker that is killed, and a count of what arrived."""
