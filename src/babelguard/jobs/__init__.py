"""The jobs behind the commands. They load what the user names, show progress, and write the results."""
