"""CDS Hooks: discovery, cards, feedback, and who may call."""
