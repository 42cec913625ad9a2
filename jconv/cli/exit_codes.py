"""Exit codes of the command line."""

OK = 0
USAGE_ERROR = 2  # an error that the user can correct
INTERRUPTED = 130  # 128 + SIGINT, as shells report Ctrl-C
