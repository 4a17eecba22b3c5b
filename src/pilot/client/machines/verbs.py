"""Every verb of `pilot machine`, as data."""

from __future__ import annotations

from ..words import Argument, Option, Program, Verb

_MACHINE = Argument("MACHINE")
_MACHINES = Argument("MACHINE", many=True)
_JSON = Option("json", "print JSON")
_WAIT = Option("wait", "for so many seconds at most (300)", "SECONDS")
_DETACH = Option("detach", "do not wait until it has come to it", short="d")
_TIMEOUT = Option("timeout", "then it is killed: 10s", "DURATION")
_SIGNAL = Option("signal", "which it gets first", "SIGNAL")
_CONFIG = (
    Option("compose", "a compose file, or - for stdin: each of its services is a container of the Machine", "FILE"),
    Option("config", "a Machine's config as JSON; what is said beside it is put over it", "FILE"),
    Option("env", "a variable; may be repeated", "NAME=VALUE", short="e", many=True),
    Option("port", "EXTERNAL:INTERNAL[/udp][:http][:tls]; may be repeated", "PORT", short="p", many=True),
    Option("volume", "a volume of the app, by name or id, there; may be repeated", "VOLUME:PATH", short="v", many=True),
    Option("file", "a file of ours, there; may be repeated", "PATH=FILE", many=True),
    Option("metadata", "may be repeated", "NAME=VALUE", many=True),
    Option("memory", "in MiB (256)", "MIB"),
    Option("cpus", "how many processors (1)", "N"),
    Option("restart", "when its program ends", "POLICY", choices="no on-failure always"),
    Option("entrypoint", "instead of the image's: one line, as a shell reads words", "TEXT"),
    Option("autostop", "when nobody uses its services", "ACTION", choices="off stop suspend"),
    Option("schedule", "start it so often", "TIMES", choices="hourly daily weekly monthly"),
    Option("rm", "it goes when its program has ended"),
)

VERBS = (
    Verb(
        "run",
        "make a Machine of an image, or of the services of a compose file, and start it",
        "running.run",
        (Argument("IMAGE", least=0), Argument("COMMAND", least=0, rest=True)),
        (
            Option("name", "what it is called", "NAME"),
            *_CONFIG,
            Option("no-start", "make it, and leave it so"),
            _WAIT,
            _DETACH,
            _JSON,
        ),
        aliases=("create",),
        examples=(
            "pilot machine run -a shop docker.io/library/nginx:1 -p 80:80:http",
            "pilot machine run -a shop --compose compose.yaml",
            "pilot machine run -a shop debian:12 --rm --memory 512 -- sh -c 'date; uname -a'",
        ),
    ),
    Verb(
        "status",
        "a Machine: what it is, its checks and containers, and what happened to it last; without one, of all",
        "looking.status",
        (Argument("MACHINE", least=0),),
        aliases=("info",),
        reads=True,
    ),
    Verb(
        "list",
        "the Machines of the app",
        "looking.list_machines",
        (),
        (Option("all", "also those that were destroyed"), Option("state", "only those in it", "STATE")),
        aliases=("ls",),
        reads=True,
    ),
    Verb("start", "start Machines", "changing.start", (_MACHINES,), (_WAIT, _DETACH), reads=True),
    Verb("stop", "stop Machines", "changing.stop", (_MACHINES,), (_SIGNAL, _TIMEOUT, _WAIT, _DETACH), reads=True),
    Verb(
        "restart",
        "stop and start Machines",
        "changing.restart",
        (_MACHINES,),
        (_SIGNAL, _TIMEOUT, Option("force", "kill what runs"), _WAIT, _DETACH),
        reads=True,
    ),
    Verb(
        "suspend",
        "freeze Machines with their memory; a start lets them go on",
        "changing.suspend",
        (_MACHINES,),
        (_WAIT, _DETACH),
        reads=True,
    ),
    Verb(
        "exec",
        "run a command in a Machine; its exit code is ours",
        "executing.execute",
        (_MACHINE, Argument("COMMAND", rest=True)),
        (
            Option("container", "in this one of its containers, and not in the first", "NAME"),
            Option("stdin", "give it all of our stdin, which is text", short="i"),
            Option("timeout", "for so long at most: 60s", "DURATION"),
        ),
        reads=True,
        examples=("pilot machine exec -a shop web -- nginx -t", "echo hi | pilot machine exec -i web -- cat"),
    ),
    Verb(
        "logs",
        "what the containers of a Machine have written",
        "looking.logs",
        (_MACHINE,),
        (
            Option("container", "of this one alone", "NAME"),
            Option("follow", "go on with what comes", short="f"),
            Option("since", "only of the last so long: 10m", "DURATION"),
        ),
        reads=True,
    ),
    Verb(
        "events",
        "what has happened to a Machine, the newest last",
        "looking.events",
        (_MACHINE,),
        (Option("lines", "only the last so many", "N", short="n"),),
        reads=True,
    ),
    Verb(
        "update",
        "a new version of a Machine: as it is, but for what is said",
        "running.update",
        (_MACHINE, Argument("COMMAND", least=0, rest=True)),
        (
            Option("image", "what it is made of", "IMAGE"),
            *_CONFIG,
            Option("no-start", "leave it as it is, running or not"),
            _JSON,
        ),
        examples=(
            "pilot machine update web --image nginx:1.27",
            "pilot machine update web --memory 1024 -e LEVEL=debug",
        ),
    ),
    Verb(
        "destroy",
        "end Machines and what they have written; volumes stay",
        "changing.destroy",
        (_MACHINES,),
        (Option("force", "also one that runs", short="f"), _WAIT, _DETACH),
        aliases=("rm",),
        reads=True,
    ),
    Verb(
        "fork-to-sprite",
        "a sprite that begins on a fork of the Machine's root; the Machine is left as it is",
        "forking.fork",
        (_MACHINE, Argument("NAME")),
        reads=True,
        examples=("pilot machine fork-to-sprite -a shop web web-look",),
    ),
    Verb("app list", "the apps that the token reaches", "apps.list_apps", aliases=("app ls", "apps"), reads=True),
    Verb("app create", "make an app, which Machines are of", "apps.create", (Argument("NAME"),), reads=True),
    Verb(
        "app destroy",
        "end an app with all Machines, volumes and secrets of it",
        "apps.destroy",
        (Argument("NAME"),),
        (Option("force", "do not ask", short="f"),),
        reads=True,
    ),
)

PROGRAM = Program(
    "pilot machine",
    "pilot machine: Machines of a pilotd (without one: --dial PATH …, start ./DIRECTORY)",
    VERBS,
    (
        Option("app", "the app that is meant (or FLY_APP)", "NAME", short="a"),
        Option("org", "the organisation whose kept token is used (or SPRITE_ORG)", "ORG", short="o"),
        Option("api", "the server's address (or FLY_API_HOSTNAME)", "URL"),
        Option("token", "the API token (or FLY_API_TOKEN)", "TOKEN"),
        Option("help", "what a verb does, with examples", short="h"),
        Option("version", "what this is"),
    ),
    room="machines.",
)
