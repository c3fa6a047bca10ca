"""The programs kraft is compared with, run and measured in environments of their own."""
