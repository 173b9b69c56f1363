"""What a running device knows of itself: pure and of constant memory, whatever it has seen."""
