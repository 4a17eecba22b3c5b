"""The `sprite` command: its words and options."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .. import errors
from . import account as accounts
from . import execution, network
from .api import Api

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Durable, disposable Linux computers.")
checkpoint = typer.Typer(no_args_is_help=True, help="Save points of a sprite's disk.")
url_app = typer.Typer(no_args_is_help=True, help="A sprite's address.")
network_app = typer.Typer(no_args_is_help=True, help="What a sprite may reach, and what it tried to.")
app.add_typer(checkpoint, name="checkpoint")
app.add_typer(network_app, name="network")
app.add_typer(url_app, name="url")

Name = Annotated[str, typer.Argument(help="the sprite's name")]
# As the upstream command has it: what works *in* a sprite takes -s, what works *on* one takes its name.
Sprite = Annotated[str, typer.Option("--sprite", "-s", envvar="SPRITE", help="the sprite's name")]
console = Console()


@app.callback()
def options(
    context: typer.Context,
    api: Annotated[str | None, typer.Option("--api", help="the server's address")] = None,
    token: Annotated[str | None, typer.Option("--token", help="the API token")] = None,
) -> None:
    context.obj = (api, token)


@contextlib.contextmanager
def _api(context: typer.Context) -> Iterator[Api]:
    address, token = context.obj
    api = Api(accounts.find(os.environ, address, token))
    try:
        yield api
    finally:
        api.close()


@app.command()
def login(
    context: typer.Context,
    token: Annotated[str, typer.Option(prompt=True, hide_input=True, help="the API token")],
    url: Annotated[str, typer.Argument(help="the server's address")] = accounts.DEFAULT_URL,
) -> None:
    """Check a token and remember it with the server's address."""
    account = accounts.Account(url.rstrip("/"), token.strip())
    api = Api(account)
    try:
        organisation = api.call("GET", "/v1/organization")["organization"]
    finally:
        api.close()
    path = accounts.save(os.environ, account)
    console.print(f"logged in to {organisation} at {account.url} ({path})")


@app.command()
def create(
    context: typer.Context,
    name: Name,
    label: Annotated[list[str] | None, typer.Option(help="a label; may be repeated")] = None,
    url: Annotated[str | None, typer.Option("--from", help="a disk in the object store: its URL")] = None,
) -> None:
    """Make a sprite."""
    origin = {"from": {"url": url}} if url else {}
    with _api(context) as api:
        made = api.call("POST", "/v1/sprites", {"name": name, "labels": label or [], **origin})
    console.print(f"{made['name']}  {made['status']}  {made['url']}")


@app.command()
def fork(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="the sprite to begin as")],
    name: Annotated[str, typer.Argument(help="the new sprite's name")],
    at: Annotated[str | None, typer.Option("--checkpoint", help="as it was at this checkpoint")] = None,
) -> None:
    """Make a sprite whose disk begins as another's; nothing is copied."""
    origin = {"sprite": source} | ({"checkpoint": at} if at else {})
    with _api(context) as api:
        made = api.call("POST", "/v1/sprites", {"name": name, "from": origin})
    console.print(f"{made['name']}  {made['status']}  forked from {source}" + (f" at {at}" if at else ""))


@app.command()
def disk(context: typer.Context, name: Name) -> None:
    """Where a sprite's disk is in the object store, and since when all of it is."""
    with _api(context) as api:
        found = api.call("GET", f"/v1/sprites/{name}/disk")
    console.print(f"{found['url'] or 'on this host alone'}  {found['durable_at'] or ''}".rstrip(), soft_wrap=True)


@network_app.command("log")
def network_log(context: typer.Context, name: Name) -> None:
    """What a sprite asked for and tried to reach, and what became of it."""
    with _api(context) as api:
        report = api.call("GET", f"/v1/sprites/{name}/network")
    for line in network.log_lines(report):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


@network_app.command("policy")
def network_policy(
    context: typer.Context,
    name: Name,
    allow: Annotated[list[str] | None, typer.Option(help="a name, *.name or *; may be repeated")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="likewise")] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="the operator's list, too")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="no rules: no restriction")] = False,
) -> None:
    """The rules of what a sprite may reach; with options, these take their place."""
    path = f"/v1/sprites/{name}/policy/network"
    with _api(context) as api:
        if allow or deny or defaults or clear:
            api.call("POST", path, network.rules(allow or (), deny or (), defaults))
        rows = network.rule_rows(api.call("GET", path))
    _print_table(("ACTION", "DOMAIN"), rows)


@app.command("list")
def list_sprites(
    context: typer.Context, prefix: Annotated[str, typer.Option(help="only names that begin so")] = ""
) -> None:
    """The sprites of the organisation."""
    with _api(context) as api:
        rows = list(api.every_sprite(prefix))
    _print_table(("NAME", "STATUS", "ISOLATION", "CREATED", "LABELS"), [_row(row) for row in rows])


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    created = row["created_at"][:19].replace("T", " ")
    return row["name"], row["status"], row.get("isolation", ""), created, ",".join(row.get("labels") or ())


def _print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(*titles, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


@app.command()
def destroy(
    context: typer.Context,
    name: Name,
    force: Annotated[bool, typer.Option("--force", "-f", help="do not ask")] = False,
) -> None:
    """Delete a sprite, its disk and its checkpoints."""
    if not force:
        typer.confirm(f"destroy {name} and all that is on its disk?", abort=True)
    with _api(context) as api:
        api.call("DELETE", f"/v1/sprites/{name}")


@app.command()
def restart(context: typer.Context, name: Name) -> None:
    """Stop a sprite's machine and start a new one on the same disk."""
    with _api(context) as api:
        api.call("POST", f"/v1/sprites/{name}/restart")


@app.command()
def stop(context: typer.Context, name: Name) -> None:
    """Let a sprite's machine go; the disk stays, and the next use wakes it."""
    with _api(context) as api:
        api.call("POST", f"/v1/sprites/{name}/stop")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def exec(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="the command and its arguments")],
    sprite: Sprite,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="give it a terminal")] = False,
    directory: Annotated[str | None, typer.Option("--dir", help="where it runs")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE; may be repeated")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="also for processes that it leaves behind with its output")
    ] = False,
) -> None:
    """Run a command; its exit code is ours."""
    wanted = execution.Command(command, terminal=tty, directory=directory, environment=env or (), wait=wait)
    _execute(context, sprite, wanted)


@app.command("console")
def open_console(context: typer.Context, sprite: Sprite) -> None:
    """A login shell with a terminal; it lives on when the connection breaks."""
    shell = ["/bin/sh", "-c", 'exec "${SHELL:-/bin/bash}" -l']
    _execute(context, sprite, execution.Command(shell, terminal=True, detachable=True))


@app.command()
def sessions(context: typer.Context, sprite: Sprite) -> None:
    """The commands that run in a sprite."""
    with _api(context) as api:
        rows = api.call("GET", f"/v1/sprites/{sprite}/exec")["sessions"]
    shown = [(str(row["id"]), str(row["command"]), "tty" if row.get("tty") else "") for row in rows]
    _print_table(("ID", "COMMAND", "TERMINAL"), shown)


@app.command()
def attach(
    context: typer.Context, sprite: Sprite, session: Annotated[str, typer.Argument(help="an id of `sprite sessions`")]
) -> None:
    """Connect to a command that runs already."""
    _execute(context, sprite, execution.Command(session=session, terminal=sys.stdin.isatty()))


def _execute(context: typer.Context, sprite: str, command: execution.Command) -> None:
    address, token = context.obj
    raise typer.Exit(execution.run(accounts.find(os.environ, address, token), sprite, command))


@checkpoint.command("create")
def create_checkpoint(
    context: typer.Context, sprite: Sprite, comment: Annotated[str, typer.Option("--comment", "-m")] = ""
) -> None:
    """Save the disk as it is now; the sprite runs on."""
    _follow(context, "POST", f"/v1/sprites/{sprite}/checkpoint", {"comment": comment})


@checkpoint.command("restore")
def restore_checkpoint(
    context: typer.Context, sprite: Sprite, id: Annotated[str, typer.Argument(help="the checkpoint, as v1")]
) -> None:
    """Make the disk what it was; what has changed since is lost, and all sessions end."""
    _follow(context, "POST", f"/v1/sprites/{sprite}/checkpoints/{id}/restore", None)


def _follow(context: typer.Context, method: str, path: str, body: dict[str, Any] | None) -> None:
    with _api(context) as api:
        for line in api.stream(method, path, body):
            console.print(line.get("data", ""))


@checkpoint.command("list")
def list_checkpoints(context: typer.Context, sprite: Sprite) -> None:
    """The checkpoints of a sprite, the newest first."""
    with _api(context) as api:
        rows = api.call("GET", f"/v1/sprites/{sprite}/checkpoints")
    shown = [(row["id"], row["create_time"][:19].replace("T", " "), row.get("comment") or "") for row in rows]
    _print_table(("ID", "CREATED", "COMMENT"), shown)


@checkpoint.command("delete")
def delete_checkpoint(context: typer.Context, sprite: Sprite, id: Annotated[str, typer.Argument()]) -> None:
    """Forget a checkpoint."""
    with _api(context) as api:
        api.call("DELETE", f"/v1/sprites/{sprite}/checkpoints/{id}")


@url_app.command("show")
def show_url(context: typer.Context, sprite: Sprite) -> None:
    """Where a sprite answers HTTP, and who may ask."""
    with _api(context) as api:
        row = api.call("GET", f"/v1/sprites/{sprite}")
    console.print(f"{row['url']}  ({row['url_settings']['auth']})")


@url_app.command("update")
def update_url(
    context: typer.Context, sprite: Sprite, auth: Annotated[str, typer.Option(help="sprite or public")]
) -> None:
    """Who may ask: members (`sprite`) or everybody (`public`)."""
    with _api(context) as api:
        api.call("PUT", f"/v1/sprites/{sprite}", {"url_settings": {"auth": auth}})


def main() -> int:
    """Entry point; errors are told once, here."""
    try:
        app()
    except errors.PilotError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"sprite: {error}{hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
