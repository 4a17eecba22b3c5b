"""Help, the manual page and completion: all of them from the table of verbs."""

from __future__ import annotations

from .. import __version__
from ..errors import NotFound
from . import output, verbs, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .context import Context

# So much room a text needs beside its name.
_NARROW = 24


def show(said: words.Words, program: words.Program = verbs.SPRITE) -> int:
    """What `--help` or `--version`, or no word at all, asks for."""
    if said.has("version"):
        output.line(f"{program.name} {__version__}")
    else:
        output.line("\n".join(_about(said, program)))
    return 0


def _about(said: words.Words, program: words.Program) -> list[str]:
    if said.verb is not None:
        return _of(said.verb, program.name)
    return _overview(program) if said.group is None else _group(said.group, program)


def _group(group: str, program: words.Program) -> list[str]:
    """The verbs that begin with this word."""
    found = [(verb.words, verb.text) for verb in program.verbs if verb.words.startswith(f"{group} ")]
    start = f"{program.name} {group} VERB"
    return [f"usage: {start} …", "", *_columns(found), "", f"{start} --help tells more."]


def version(_: Context) -> None:
    output.line(f"sprite {__version__}")


def help_of(context: Context) -> None:
    wanted = context.said.arguments("VERB")
    if not wanted:
        output.line("\n".join(_overview(verbs.SPRITE)))
        return
    name = " ".join(wanted)
    found = [verb for verb in verbs.VERBS if name in (verb.words, *verb.aliases)]
    found = found or [verb for verb in verbs.VERBS if verb.words.startswith(f"{name} ")]
    if not found:
        raise NotFound(f"no verb {name!r}", hint="see 'sprite --help'")
    output.line("\n\n".join("\n".join(_of(verb)) for verb in found))


def _overview(program: words.Program) -> list[str]:
    lines = [program.about, "", f"usage: {program.name} [options] VERB …", ""]
    lines += _columns([(verb.words + _also(verb), verb.text) for verb in program.verbs])
    lines += ["", "options, before or after the verb:", *_options(program.options)]
    return [*lines, "", f"{program.name} VERB --help tells more, with examples."]


def _of(verb: words.Verb, program: str = "sprite") -> list[str]:
    lines = [f"usage: {verb.usage(program)}", "", *_paragraph(verb.text)]
    if verb.aliases:
        lines += ["", f"  also: {', '.join(f'{program} {alias}' for alias in verb.aliases)}"]
    if verb.options:
        lines += ["", "options:", *_options(verb.options)]
    if verb.examples:
        lines += ["", "examples:", *(f"  {example}" for example in verb.examples)]
    return lines


def _also(verb: words.Verb) -> str:
    short = [alias for alias in verb.aliases if " " not in alias]
    return f", {', '.join(short)}" if short else ""


def _options(options: Sequence[words.Option]) -> list[str]:
    texts = [f"{o.text}: {', '.join(o.choices)}" if o.choices else o.text for o in options]
    return _columns([(option.describe(), text) for option, text in zip(options, texts, strict=True)])


def _paragraph(text: str) -> list[str]:
    if (most := output.columns()) is None:
        return [f"  {text}"]
    import textwrap

    return textwrap.wrap(text, most, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """What it is called, and what it does: between words where a terminal ends, below the name where it is narrow."""
    width, most = max(len(left) for left, _ in rows) + 4, output.columns()
    if most is None:
        return [f"  {left.ljust(width - 2)}{right}" for left, right in rows]
    import textwrap

    if most - width < _NARROW:
        wrap = textwrap.TextWrapper(most, initial_indent=" " * 6, subsequent_indent=" " * 6, break_long_words=False)
        return [line for left, right in rows for line in (f"  {left}", *wrap.wrap(right))]
    wrap = textwrap.TextWrapper(most - width, break_long_words=False)
    found = [(left, *wrap.wrap(right)) for left, right in rows]
    return [
        line
        for left, first, *others in found
        for line in (f"  {left.ljust(width - 2)}{first}", *(" " * width + other for other in others))
    ]


def manual(_: Context) -> None:
    """roff, for man(7)."""
    output.line("\n".join(_manual()))


def _manual() -> Iterator[str]:
    yield f'.TH SPRITE 1 "" "sprite {__version__}" "User Commands"'
    yield ".SH NAME\nsprite \\- durable, disposable Linux computers"
    yield ".SH SYNOPSIS\n.B sprite\n[options] VERB [options] [arguments]"
    yield ".SH OPTIONS\nBefore or after the verb."
    for option in words.GLOBAL:
        yield f".TP\n{_roff(option.describe().strip())}\n{_roff(option.text)}"
    yield ".SH VERBS"
    for verb in verbs.VERBS:
        yield f".TP\n{_roff(verb.usage())}\n{_roff(verb.text)}."
        for option in verb.options:
            yield f".br\n{_roff(option.describe().strip())}: {_roff(option.text)}"
        for example in verb.examples:
            yield f".br\nExample: {_roff(example)}"
    yield ".SH EXIT STATUS\n0 done, 1 failed, 2 not to be understood, 130 interrupted; of exec, console and attach"
    yield "that of the command, 126 and 127 as a shell's."
    yield ".SH ENVIRONMENT\nSPRITES_API_URL, SPRITE_TOKEN, SPRITE_ORG, SPRITE, NO_COLOR"
    yield ".SH FILES\n.sprite, ~/.config/pilot/sprite.json"


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")


def completion(context: Context) -> None:
    """For bash, zsh or fish; names of sprites are asked of the server."""
    shell = context.said.required("SHELL")
    if shell not in _SCRIPTS:
        raise NotFound(f"no completion for {shell!r}", hint=f"there is one for {', '.join(_SCRIPTS)}")
    output.line(_SCRIPTS[shell]())


def _table() -> list[tuple[str, str]]:
    """(what was typed, what may follow)."""
    names = [name for verb in verbs.VERBS for name in (verb.words, *verb.aliases)]
    first = sorted({name.split()[0] for name in names})
    rows = [("", " ".join([*first, *_long(words.GLOBAL)]))]
    for parent in first:
        second = sorted({name.split()[1] for name in names if name.startswith(f"{parent} ")})
        if second:
            rows.append((parent, " ".join(second)))
    rows += [(verb.words, " ".join(_long((*verb.options, *words.GLOBAL)))) for verb in verbs.VERBS]
    return rows


def _long(options: Sequence[words.Option]) -> list[str]:
    return [f"--{option.name}" for option in options]


def _bash() -> str:
    cases = "\n".join(f"    '{typed}') words='{follow}' ;;" for typed, follow in _merged())
    return f"""_sprite() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
  if [ "$before" = -s ] || [ "$before" = --sprite ]; then
    words=$(sprite list --json 2>/dev/null | tr ',{{' '\\n\\n' | sed -n 's/^ *"name": *"\\([^"]*\\)".*/\\1/p')
    COMPREPLY=($(compgen -W "$words" -- "$current")); return
  fi
  case "${{COMP_WORDS[*]:1:COMP_CWORD-1}}" in
{cases}
    *) case "${{COMP_WORDS[*]:1:2}}" in
{cases}
      *) case "${{COMP_WORDS[1]}}" in
{cases}
      esac ;; esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _sprite sprite"""


def _merged() -> list[tuple[str, str]]:
    """One row for each beginning."""
    found: dict[str, str] = {}
    for typed, follow in _table():
        found[typed] = f"{found[typed]} {follow}" if typed in found else follow
    return list(found.items())


def _zsh() -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash()}"


def _fish() -> str:
    lines = ["complete -c sprite -f"]
    for verb in verbs.VERBS:
        first, _, second = verb.words.partition(" ")
        text = verb.text.replace("'", "\\'")
        if second:
            lines.append(f"complete -c sprite -n '__fish_seen_subcommand_from {first}' -a {second} -d '{text}'")
        else:
            lines.append(f"complete -c sprite -n __fish_use_subcommand -a {first} -d '{text}'")
    for parent in sorted({verb.words.split()[0] for verb in verbs.VERBS if " " in verb.words}):
        lines.append(f"complete -c sprite -n __fish_use_subcommand -a {parent}")
    for option in words.GLOBAL:
        short = f" -s {option.short}" if option.short else ""
        value = " -x" if option.value else ""
        lines.append(
            f"complete -c sprite -l {option.name}{short}{value} -d '{option.text}'".replace("server's", "server")
        )
    return "\n".join(lines)


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
