"""From what a record says of a medication to ingredients and a route; a read-only table built from ``rules/``."""

from service.terminology.errors import TerminologyError
from service.terminology.place import import_release, open_terminology
from service.terminology.recognise import Recognised, Recogniser
from service.terminology.search import MedicationSearch
from service.terminology.store import Release, Store

__all__ = [
    "MedicationSearch",
    "Recognised",
    "Recogniser",
    "Release",
    "Store",
    "TerminologyError",
    "import_release",
    "open_terminology",
]
