"""Command line of the study, in the root of the repository.

python -m study tables               # rewrites the tables of README.md, RESULTS.md and trilemma/weights/README.md, and
                                     # results/overview*.png and results/trilemma_*.png
python -m study colab [OWNER/NAME]   # points badges and set-up cells to a repository, by default that of "origin"
"""

import argparse

from study import figures, repository, tables


def main():
    """Runs one command."""
    parser = argparse.ArgumentParser(
        prog="python -m study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("tables")
    commands.add_parser("colab").add_argument("repository", metavar="OWNER/NAME", nargs="?")
    arguments = parser.parse_args()
    try:
        if arguments.command == "tables":
            tables.write()
            figures.write()
        else:
            print(f"Badges and set-up cells name {repository.stamp(arguments.repository)}.")
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
