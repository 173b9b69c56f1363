"""The workers of the environments of their own; nothing of edgeml is there to be imported."""
