"""The other end of the wire: what receives, stores, acknowledges and answers for a fleet."""
