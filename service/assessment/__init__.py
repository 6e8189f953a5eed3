"""The use case: a request becomes a picture, the picture outcomes, the outcomes an answer."""

from service.assessment.assess import Assessor, IncompleteEvaluation

__all__ = ["Assessor", "IncompleteEvaluation"]
