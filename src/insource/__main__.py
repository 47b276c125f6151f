"""`python -m insource` is `insource`."""

from insource.cli.main import main

if __name__ == "__main__":
    main()
