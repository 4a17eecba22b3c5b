"""Runs in the environment of `make clients`, beside a client that was generated from the served document: what it does
with it, one line of JSON for each answer.

    python generated.py DIRECTORY URL TOKEN IMAGE       DIRECTORY has the package `machines_client`
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def main(directory: str, url: str, token: str, image: str) -> None:
    """An app's whole life, by nothing but generated code."""
    sys.path.insert(0, directory)
    models = importlib.import_module("machines_client.models")
    client = importlib.import_module("machines_client.client").AuthenticatedClient(
        base_url=url, token=token, timeout=90.0, raise_on_unexpected_status=True
    )

    def call(place: str, *arguments: str, **more: Any) -> Any:
        """Its answer, as one of the generated models."""
        module = importlib.import_module(f"machines_client.api.{place}")
        answer = module.sync_detailed(*arguments, client=client, **more)
        tell(place.rpartition(".")[2], int(answer.status_code), answer.parsed)
        return answer.parsed

    call("apps.apps_create", body=models.CreateApp(app_name="generated"))
    volume = call("volumes.volumes_create", "generated", body=models.CreateVolume(name="data", size_gb=1))
    call("secrets.secret_create", "generated", "KEY", body=models.SetSecret(value="hidden"))
    config = models.Config.from_dict(
        {
            "image": image, "guest": {"cpus": 1, "memory_mb": 256}, "restart": {"policy": "no"},
            "mounts": [{"volume": volume.id, "path": "/data"}],
            "services": [{"internal_port": 8000, "ports": [{"port": 80, "handlers": ["http"]}], "autostop": "stop"}],
            "metadata": {"role": "web"}, "unknown_to_us": {"kept": True},
        }
    )  # fmt: skip
    created = call("machines.machines_create", "generated", body=models.CreateMachine(config=config, name="one"))
    one = "generated", created.id
    call("machines.machines_wait", *one, state="started", timeout="60")
    call("machines.machines_exec", *one, body=models.Exec(command=["sh", "-c", "echo $KEY > /data/key; cat /data/key"]))
    call("machines.machines_list_processes", *one)
    lease = call("machines.machines_create_lease", *one, body=models.AcquireLease(ttl=30))
    call("machines.machines_stop", *one, body=models.StopMachine())  # somebody has the lease
    client.get_httpx_client().headers["fly-machine-lease-nonce"] = lease.data.nonce
    call("machines.machines_release_lease", *one)
    call("machines.machines_show", *one)
    call("machines.machines_update", *one, body=models.CreateMachine(config=config))
    call("machines.machines_list_versions", *one)
    call("machines.machines_replace_metadata", *one, body=models.Metadata.from_dict({"metadata": {"a": "b"}}))
    call("machines.machines_show_metadata", *one)
    call("machines.machines_list", "generated")
    call("apps.app_ip_assignments_list", "generated")
    call("machines.machines_stop", *one, body=models.StopMachine(signal="SIGKILL"))
    call("machines.machines_wait", *one, state="stopped", timeout="60")
    call("machines.machines_list_events", *one)
    call("machines.machines_delete", *one, force="true")
    call("volumes.volumes_delete", "generated", volume.id)
    call("apps.apps_delete", "generated")
    call("apps.apps_show", "generated")  # it is gone


def tell(name: str, status: int, answer: Any) -> None:
    """For the test."""
    shown = [each.to_dict() for each in answer] if isinstance(answer, list) else answer
    shown = shown.to_dict() if hasattr(shown, "to_dict") else shown
    print(json.dumps({"call": name, "status": status, "answer": shown}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
