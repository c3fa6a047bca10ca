"""What a force field gets right and wrong."""
