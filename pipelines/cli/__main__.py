"""`python -m pipelines.cli` is the command `zoo`."""

from pipelines.cli import main

main()
