"""Data that ships with kraft, made by its own scripts."""
