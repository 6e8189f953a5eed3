"""Cofactor: a rules service for magnesium and vitamin D, for clinicians."""
