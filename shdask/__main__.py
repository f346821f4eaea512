"""``python -m shdask``: the command line without the script."""

from shdask.cli import main

main()
