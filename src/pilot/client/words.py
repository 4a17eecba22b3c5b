"""The command line as a value: which verb, which options, what is left. Pure, but for what it is asked to print.

    sprite [global options] VERB [WORD] [options] [arguments]          options before or after the verb
    sprite exec [options] [--] COMMAND…                                what follows its first word is the command's

Read by tables (`verbs`): the same rows make help, completion and the manual page.
"""

from __future__ import annotations

from .. import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class UsageError(errors.PilotError):
    """The command line cannot be meant."""


_FREE_TEXTS = frozenset({"TEXT", "BODY"})
_EMPTY = "a variable of the shell that is not set?"  # as if it had not been said, another thing would be meant


class Option:
    """`--name`, perhaps `-s`. `value`: what its argument is called; None for a switch. `many`: may be repeated."""

    def __init__(
        self, name: str, text: str, value: str | None = None, *, short: str = "", many: bool = False, choices: str = ""
    ) -> None:
        self.name = name
        self.text = text
        self.value = value
        self.short = short
        self.many = many
        self.choices = choices.split()

    @property
    def may_be_empty(self) -> bool:
        """What is only told again."""
        return self.value in _FREE_TEXTS

    def describe(self) -> str:
        short = f"-{self.short}, " if self.short else "    "
        return f"{short}--{self.name}" + (f" {self.value}" if self.value else "")


class Argument:
    """A word by its place. `least` 0: may be left out; `rest`: takes all that follow, options and all."""

    def __init__(self, name: str, *, least: int = 1, many: bool = False, rest: bool = False) -> None:
        self.name = name
        self.least = least
        self.many = many or rest
        self.rest = rest

    def describe(self) -> str:
        shown = f"{self.name}…" if self.many else self.name
        return shown if self.least else f"[{shown}]"


class Verb:
    """`words`: as it is typed; `call`: `module.function` below `pilot.client`, imported when it is meant."""

    def __init__(
        self,
        words: str,
        text: str,
        call: str,
        arguments: Sequence[Argument] = (),
        options: Sequence[Option] = (),
        *,
        examples: Sequence[str] = (),
        aliases: Sequence[str] = (),
        reads: bool = False,
    ) -> None:
        self.words = words
        self.text = text
        self.call = call
        self.arguments = tuple(arguments)
        self.options = (*options, *((JSON,) if reads else ()))
        self.examples = tuple(examples)
        self.aliases = tuple(aliases)

    @property
    def words_with_options(self) -> int | None:
        """Among so many of its words options are ours: up to a command's first one; None: among all."""
        return len(self.arguments) if any(argument.rest for argument in self.arguments) else None

    def usage(self, program: str = "sprite") -> str:
        parts = [f"{program} {self.words}", *(["[options]"] if self.options else [])]
        return " ".join([*parts, *(argument.describe() for argument in self.arguments)])


JSON = Option("json", "print JSON, as the server says it")
GLOBAL = (
    Option("sprite", "the sprite that is meant (or SPRITE, or a .sprite file)", "NAME", short="s"),
    Option("org", "the organisation whose token is used (or SPRITE_ORG)", "ORG", short="o"),
    Option("api", "the server's address (or SPRITES_API_URL)", "URL"),
    Option("token", "the API token (or SPRITE_TOKEN)", "TOKEN"),
    Option("help", "what a verb does, with examples", short="h"),
    Option("version", "what this is"),
)


class Program:
    """A command of ours: what it is called, its verbs, the options of them all, and which of their calls is whose:
    `room` is what each `Verb.call` is below, in `pilot.client`."""

    def __init__(
        self, name: str, about: str, verbs: Sequence[Verb], options: Sequence[Option] = GLOBAL, room: str = ""
    ) -> None:
        self.name = name
        self.about = about
        self.verbs = tuple(verbs)
        self.options = tuple(options)
        self.room = room

    def parse(self, words: Sequence[str]) -> Words:
        """As `parse`."""
        return parse(words, self.verbs, self.options, self.name)


class Words:
    """What was said: options by name, arguments by name; `say` for one, `said_all` for those that may be repeated."""

    def __init__(self) -> None:
        self.verb: Verb | None = None
        self.group: str | None = None  # what several verbs begin with, when help on it is asked for
        self._options: dict[str, list[str]] = {}
        self._arguments: dict[str, list[str]] = {}

    def option(self, name: str) -> str | None:
        """The last that was said."""
        return self._options[name][-1] if name in self._options else None

    def options(self, name: str) -> list[str]:
        return self._options.get(name, [])

    def has(self, name: str) -> bool:
        return name in self._options

    def argument(self, name: str) -> str | None:
        found = self._arguments.get(name)
        return found[0] if found else None

    def arguments(self, name: str) -> list[str]:
        return self._arguments.get(name, [])

    def required(self, name: str) -> str:
        """An argument that the table says is there."""
        return self._arguments[name][0]

    def add(self, option: Option, value: str) -> None:
        if option.choices and value not in option.choices:
            raise UsageError(f"--{option.name} {value}: one of {', '.join(option.choices)}")
        if not value and option.value and not option.may_be_empty:
            raise UsageError(f"--{option.name} is empty", hint=_EMPTY)
        self._options.setdefault(option.name, []).append(value)

    def place(self, arguments: Sequence[Argument], found: Sequence[str]) -> None:
        """Words to arguments, in order; the last may take many."""
        left = list(found)
        for number, argument in enumerate(arguments):
            later = sum(each.least for each in arguments[number + 1 :])
            most = len(left) - later if argument.many else min(1, len(left) - later)
            taken, left = left[: max(most, 0)], left[max(most, 0) :]
            if len(taken) < argument.least:
                raise UsageError(f"{argument.name} is missing")
            if "" in taken and not argument.rest:
                raise UsageError(f"{argument.name} is empty", hint=_EMPTY)
            self._arguments[argument.name] = taken
        if left:
            raise UsageError(f"{left[0]!r} is one word too many")


def parse(
    words: Sequence[str], verbs: Sequence[Verb], options: Sequence[Option] = GLOBAL, program: str = "sprite"
) -> Words:
    """`UsageError` in plain words; `verb` is None when none was named."""
    said = Words()
    left = _options(list(words), said, options, most_words=1)
    verb, left = _verb(left, verbs)
    if verb is None:
        if left:
            said.group = _group(left, said, verbs, options, program)
        return said
    said.verb = verb
    found = _options(left, said, (*verb.options, *options), most_words=verb.words_with_options)
    if not said.has("help"):
        said.place(verb.arguments, found)
    return said


def _verb(words: list[str], verbs: Sequence[Verb]) -> tuple[Verb | None, list[str]]:
    """The longest name that the words begin with."""
    best: tuple[int, Verb] | None = None
    for verb in verbs:
        for name in (verb.words, *verb.aliases):
            parts = name.split()
            if words[: len(parts)] == parts and (best is None or len(parts) > best[0]):
                best = (len(parts), verb)
    return (None, words) if best is None else (best[1], words[best[0] :])


def _group(words: list[str], said: Words, verbs: Sequence[Verb], options: Sequence[Option], program: str) -> str | None:
    """The word that several verbs begin with, of which help is asked; `UsageError` when it is something else."""
    name, *after = words
    seconds = [verb.words.removeprefix(f"{name} ") for verb in verbs if verb.words.startswith(f"{name} ")]
    if not seconds:
        if said.has("help"):
            return None
        raise UsageError(f"no verb {name!r}", hint=_near(name, verbs, program))
    left = _options(after, said, options, most_words=1)
    if left or not said.has("help"):
        raise UsageError(f"no verb {' '.join([name, *left[:1]])!r}", hint=f"after {name} comes {', '.join(seconds)}")
    return name


def _options(words: list[str], said: Words, known: Sequence[Option], *, most_words: int | None) -> list[str]:
    """What is no option; all after `--`, or after so many such words: a command's options are its own."""
    by_name, by_short = {o.name: o for o in known}, {o.short: o for o in known if o.short}
    found: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            return found + words
        if word == "-" or not word.startswith("-"):
            found.append(word)
            if len(found) == most_words:
                return found + words
        elif word.startswith("--"):
            name, has_value, value = word[2:].partition("=")
            option = by_name.get(name)
            if option is None:
                raise UsageError(f"no option --{name}", hint="what is meant for a command comes after its name")
            if option.value is None and has_value:
                raise UsageError(f"--{name} takes no value")
            said.add(option, _value(option, value if has_value else None, words))
        else:
            _short(word[1:], words, said, by_short)
    return found


def _short(letters: str, words: list[str], said: Words, known: dict[str, Option]) -> None:
    """`-t`, `-tw`, `-s NAME`, `-sNAME`."""
    while letters:
        letter, letters = letters[0], letters[1:]
        option = known.get(letter)
        if option is None:
            raise UsageError(f"no option -{letter}", hint="what is meant for a command comes after its name")
        if option.value is None:
            said.add(option, "")
        else:
            said.add(option, _value(option, letters or None, words))
            return


def _value(option: Option, given: str | None, words: list[str]) -> str:
    if option.value is None:
        return ""
    if given is not None:
        return given
    if not words:
        raise UsageError(f"--{option.name}: {option.value} is missing")
    return words.pop(0)


def _near(word: str, verbs: Sequence[Verb], program: str) -> str:
    """What may have been meant."""
    names = sorted({name.split()[0] for verb in verbs for name in (verb.words, *verb.aliases)})
    near = [name for name in names if name[:2] == word[:2]]
    return f"did you mean {' or '.join(near)}?" if near else f"see '{program} --help'"
