"""The command line: `jconv VERB ...`, each verb a few lines over a function of the library."""

from jconv.cli.main import main as main
