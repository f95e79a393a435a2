"""Scores as resources of HL7 FHIR R4, one transaction for each film."""
