"""Quantities and outcomes: the words of the clinic as types. Standard library only; never a clock, a file or a rule."""
