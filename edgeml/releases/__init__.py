"""What publisher and device agree on: chunks, release indexes, rollout rules, metadata."""
