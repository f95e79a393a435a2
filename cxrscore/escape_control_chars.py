"""Make text from outside, such as film names, safe to print."""

from __future__ import annotations

from cxrscore.interrupts import is_interrupt


def escape_control_characters(text: str) -> str:
    """The text with every unprintable character, and every one that changes the writing direction, replaced by its
    code: on a terminal it could hide or imitate other output."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"[U+{ord(c):04X}]" for c in text)


LONGEST_MESSAGE = 300
"""Number of characters of a foreign message that are shown."""


def error_message(error: BaseException) -> str:
    """The complete message of an exception; "" if its text cannot be read. Raises nothing except a Ctrl-C of the
    user."""
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
        Any exception; its text may be long, contain any character, or raise an error itself.
    longest
        Number of characters of the message that are shown.

    Returns
    -------
    str
        Such as "ValueError: no such layer"; the class alone if there is no message.
    """
    message = " ".join(error_message(error)[: 10 * longest].split())
    if len(message) > longest:
        message = f"{message[:longest]} ..."
    return escape_control_characters(f"{class_name(error)[:longest]}: {message}".removesuffix(": "))


def class_name(value: object) -> str:
    """The name of the class of a foreign object, whatever its metaclass does."""
    return str(vars(type)["__name__"].__get__(type(value)))
