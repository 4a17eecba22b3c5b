"""Two Machines of several containers, by nothing but the Machines API.

front     nginx in front of a program that it waits for: they share the loopback, the proxy reaches nginx alone
replica   a program with a SQLite database, and litestream beside it, which share a temporary directory

FLY_API_HOSTNAME=http://127.0.0.1:8080 FLY_API_TOKEN=… python -m examples.machines front NGINX-IMAGE PROGRAM-IMAGE
FLY_API_HOSTNAME=http://127.0.0.1:8080 FLY_API_TOKEN=… python -m examples.machines replica SQLITE-IMAGE LITESTREAM-IMAGE
"""

from __future__ import annotations

import base64
import os
import sys

import httpx

NGINX = """\
user root;
daemon off;
pid /tmp/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server {
    listen 8080;
    location / { proxy_pass http://127.0.0.1:3000; proxy_set_header X-Through nginx; }
  }
}
"""


def front(nginx: str, program: str) -> dict[str, object]:
    """`program`: an image with busybox."""
    script = (
        "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; echo hello through $HTTP_X_THROUGH' >/www/cgi-bin/hello;"
        "chmod 755 /www/cgi-bin/hello; exec httpd -f -p 3000 -h /www"
    )
    configuration = {"guest_path": "/etc/nginx.conf", "raw_value": base64.b64encode(NGINX.encode()).decode()}
    return {
        "containers": [
            {
                "name": "nginx", "image": nginx, "exec": ["/usr/sbin/nginx", "-c", "/etc/nginx.conf"],
                "files": [configuration], "depends_on": [{"name": "program", "condition": "healthy"}],
            },
            {
                "name": "program", "image": program, "exec": ["sh", "-c", script], "stop": {"signal": "SIGKILL"},
                "healthchecks": [{"name": "up", "tcp": {"port": 3000}, "interval": 1, "kind": "readiness"}],
            },
        ],
        "services": [{"internal_port": 8080, "ports": [{"port": 80, "handlers": ["http"]}], "autostop": "suspend"}],
    }  # fmt: skip


def replica(sqlite: str, litestream: str) -> dict[str, object]:
    """`sqlite`: an image with sqlite3 and a shell; `litestream`: one with it at /litestream."""
    program = (
        "sqlite3 /data/app.db 'PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS said (word TEXT)';"
        "while :; do sleep 1; done"
    )
    shared = [{"name": "shared", "path": "/data"}]
    return {
        "containers": [
            {
                "name": "program", "image": sqlite, "exec": ["sh", "-c", program], "mounts": shared,
                "stop": {"signal": "SIGKILL"},
                "healthchecks": [{"name": "there", "exec": {"command": ["test", "-s", "/data/app.db"]}, "interval": 1}],
            },
            {
                "name": "litestream", "image": litestream, "mounts": shared,
                "exec": ["/litestream", "replicate", "/data/app.db", "file:///data/replica"],
                "depends_on": [{"name": "program", "condition": "healthy"}],
            },
        ],
        "volumes": [{"name": "shared", "temp_dir": {"storage_type": "memory", "size_mb": 64}}],
    }  # fmt: skip


EXAMPLES = {"front": front, "replica": replica}


def main(which: str, first: str, second: str) -> None:
    """An app of that name, with one Machine that is started when this returns."""
    headers = {"Authorization": f"Bearer {os.environ['FLY_API_TOKEN']}"}
    with httpx.Client(base_url=os.environ["FLY_API_HOSTNAME"], headers=headers, timeout=90) as client:
        client.post("/v1/apps", json={"app_name": which, "org_slug": "personal"}).raise_for_status()
        body = {"config": EXAMPLES[which](first, second)}
        made = client.post(f"/v1/apps/{which}/machines", json=body).raise_for_status().json()["id"]
        wait_started(client, f"/v1/apps/{which}/machines/{made}/wait?state=started&timeout=60")
        print(made)


def wait_started(client: httpx.Client, path: str, times: int = 5) -> None:
    """408 says that the state has not come by then: asked again, as the first Machine of an image may take long."""
    for left in reversed(range(times)):
        answer = client.get(path)
        if answer.status_code != httpx.codes.REQUEST_TIMEOUT or not left:
            answer.raise_for_status()
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
