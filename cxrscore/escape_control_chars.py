"""Text of others, such as the name of a film, made safe to show to people."""

from __future__ import annotations

from cxrscore.interrupts import is_interrupt


def escape_control_characters(text: str) -> str:
    """The text with every character that does not print, or that turns its neighbours round, shown by its code: on a
    terminal it could hide what was written, or write something else."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"[U+{ord(c):04X}]" for c in text)


LONGEST_MESSAGE = 300
"""Characters of a foreign message that are repeated."""


def error_message(error: BaseException) -> str:
    """The message of an exception, whole; "" where its text cannot be had. Raises nothing but a Ctrl-C of the user."""
    try:
        return str.__str__(str(error))
    except BaseException as odd:  # the class of a foreign exception may do anything
        if is_interrupt(odd):
            raise
        return ""


def error_words(error: BaseException, longest: int = LONGEST_MESSAGE) -> str:
    """The class and the message of a foreign exception in one printable line of bounded length.

    Parameters
    ----------
    error
        Any exception; its text may be long, hold any character, or raise an error itself.
    longest
        Characters of the message that are repeated.

    Returns
    -------
    str
        Such as "ValueError: no such layer"; the class alone where there is no message.
    """
    message = " ".join(error_message(error)[: 10 * longest].split())
    if len(message) > longest:
        message = f"{message[:longest]} ..."
    return escape_control_characters(f"{class_name(error)[:longest]}: {message}".removesuffix(": "))


def class_name(value: object) -> str:
    """The name of the class of a foreign object, whatever its metaclass does."""
    return str(vars(type)["__name__"].__get__(type(value)))
