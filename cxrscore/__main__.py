"""``python -m cxrscore``, and what the command ``cxrscore`` runs."""

import sys

from cxrscore.search_path import drop_current_folder

drop_current_folder()  # before anything else is imported: a module beside the films is never one of ours


def main() -> None:
    """Runs the program. Ctrl-C ends it with exit code 130 while it is still being imported, too."""
    if sys.platform == "win32":
        sys.exit("cxrscore: Windows is not supported. Use Linux, macOS, or Linux inside Windows (WSL 2).")
    try:
        from cxrscore.cli import main as command_line

        command_line(prog_name="cxrscore")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
