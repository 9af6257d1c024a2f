"""How records look to people outside the command line."""
