"""Reads ``rules/`` into a frozen Rulebook, or refuses it with file and line. Never evaluates anything."""

from service.knowledge.errors import Fault, KnowledgeError
from service.knowledge.rule import Rule
from service.knowledge.rulebook import Rulebook, load_rulebook
from service.knowledge.vocabulary import Vocabulary

__all__ = ["Fault", "KnowledgeError", "Rule", "Rulebook", "Vocabulary", "load_rulebook"]
