"""What can be counted about a graph without running it."""
