"""What a call was: the models it ran, its arguments, its result, its surroundings."""
