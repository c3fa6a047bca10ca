"""Other programs: calculators, simulation engines and their file formats."""
