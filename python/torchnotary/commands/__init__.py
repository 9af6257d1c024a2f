"""The commands of the ``torchnotary`` program, by what they are about."""
