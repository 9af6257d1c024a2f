"""Running recorded calls again, and comparing records with each other."""
