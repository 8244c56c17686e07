"""`python -m shoestring`."""

from shoestring.cli import main

if __name__ == "__main__":
    main()
