"""``python -m cxrscore``."""

from cxrscore.cli import main

if __name__ == "__main__":
    main(prog_name="cxrscore")
