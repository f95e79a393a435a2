"""``python -m cxrscore``; the command ``cxrscore`` runs it, too."""

import sys

from cxrscore.search_path import drop_current_folder

drop_current_folder()  # before any other import: a module in the current folder must not replace one of cxrscore's


def main() -> None:
    """Run the program. Ctrl-C ends it with exit code 130, also during the imports."""
    if sys.platform == "win32":
        sys.exit("cxrscore: Windows is not supported. Use Linux, macOS, or Linux inside Windows (WSL 2).")
    try:
        from cxrscore.cli import main as command_line

        command_line(prog_name="cxrscore")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
