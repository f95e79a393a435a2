"""``cxrscore view``: a web application on this machine that shows the films of scores files, sorted and filtered.

Each page is a module with a function ``routes``; ``app`` puts them together. Requests name films by their rows only.
"""
