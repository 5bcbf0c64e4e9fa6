"""`python -m halfopen` is the command halfopen."""

from halfopen.main import halfopen

if __name__ == "__main__":
    halfopen()
