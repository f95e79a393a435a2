"""``python -m cxrscore``."""

from cxrscore.search_path import drop_current_folder

drop_current_folder()

from cxrscore.cli import main  # noqa: E402 - only now does nothing come from the current folder

if __name__ == "__main__":
    main(prog_name="cxrscore")
