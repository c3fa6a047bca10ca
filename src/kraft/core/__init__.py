"""What every layer uses: errors, atomic files, progress, seeded randomness, array types."""
