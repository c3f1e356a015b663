"""`ferembed data`: a command for each thing that is done to a data set."""

from ferembed.cli.data import audit, build, describe

HELP = "describe, audit and build data sets"
EXAMPLES = ("ferembed data describe fer2013.zip",)
COMMANDS = (describe, audit, build)
