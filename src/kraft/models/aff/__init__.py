"""AFF, the atomized force field (paper 001): a Gaussian process for each set of like atoms."""
