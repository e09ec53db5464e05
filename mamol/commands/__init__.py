"""Sacred's flat options and the command lines: the one room that knows all the others."""
