"""The HTTP door: JSON in, JSON out, refusals, and the contract. Never an `if` about medicine."""
