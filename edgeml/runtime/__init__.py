"""Runs models: an interpreter behind one protocol, and everything around its tensors."""
