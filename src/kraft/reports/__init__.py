"""Reports and figures for people."""
