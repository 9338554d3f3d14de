"""The jobs behind the commands: what is asked of the user, what is shown, and what is written."""
