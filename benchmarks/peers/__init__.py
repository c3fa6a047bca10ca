"""The programs that are compared, kraft among them, each run and measured in its environment."""
