"""Further words of a user for a submitting command whose options have one dash: ``-l``, ``-W``, ``-hold_jid``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wlmctl.jobs.queue.options import WrongOption


def check_words(
    words: Sequence[str], program: str, refused: Mapping[str, str], flags: Collection[str], letters: bool = False
) -> None:
    """``WrongOption`` for a refused option, and for a word that is neither an option nor an option's value.

    ``flags`` are the options that take no value. ``letters``: an option is one letter, and its value may be in the same
    word.
    """
    takes_value = False
    for word in words:
        if takes_value:
            takes_value = False
            continue
        if not word.startswith("-") or len(word) < 2:
            raise WrongOption(f"extra: {word!r}, expected an option of {program}, or its value as a word of its own")
        name = word[1] if letters else word[1:]
        if name in refused:
            raise WrongOption(f"extra: {word!r} is refused: {refused[name]}")
        takes_value = name not in flags and not (letters and len(word) > 2)
    if takes_value:
        raise WrongOption(f"extra: {words[-1]!r} is the last word, expected a value of {program} behind it")


def option_words(*named: tuple[str, str | None]) -> list[str]:
    """Options and their values as words, without those of which nothing is said."""
    return [word for option, value in named if value is not None for word in (option, value)]
