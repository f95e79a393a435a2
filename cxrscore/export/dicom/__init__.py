"""Scores and heat maps as DICOM objects, which belong to the studies of their films.

A kind of objects is a function: from one film to its objects (``writer.FILM_KINDS``), or from all films of a study
(``writer.STUDY_KINDS``). The writer passes each object to a sink, one by one: a folder, or an archive.
"""
