"""``python -m cellzoo.cli`` is the command, too."""

from cellzoo.cli import main

if __name__ == "__main__":
    main(prog_name="cellzoo")
