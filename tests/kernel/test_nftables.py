"""libnftables in a process of ours: what it cannot have is an error, and never the end of that process; and our rules
on a host that has little."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.requires("root", "private", "veth", "nft")

# The library opens its netlink socket anew for each script. That no kernel gives it one, as without nf_tables, looks
# the same as that no descriptor is left.
_WITHOUT = """
import resource
from pilot import errors
from pilot.kernel import nftables
assert nftables.query("list tables")
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    nftables.query("list tables")
except errors.HostError as error:
    print(error)
"""


def test_without_a_socket_it_is_refused_and_the_process_goes_on() -> None:
    tried = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, check=False, timeout=60)
    assert (tried.returncode, tried.stdout) == (0, "open a socket of nftables: too many open files\n"), tried.stderr


# Names of protocols are in a file that Debian's netbase brings; and what was refused lately is told as before.
_BARE = """
import msgspec
from pilot.host.network import apply, plan, ruleset, service
from pilot.ids import MachineId
from pilot.kernel import netns, nftables
settings = plan.Settings("bare")
apply.try_all(settings)

def refused():
    nftables.run(ruleset.gateway_script(plan.Gateway(MachineId("one"), 1, settings)))
    nftables.run(f"add element {ruleset.TABLE} refused4 {{ 192.0.2.1 . 6 . 25, 192.0.2.1 . 17 . 53 }}")
    return service._refused(netns.CURRENT)

print(sorted(map(msgspec.structs.astuple, netns.in_new(refused))))
"""


def test_a_host_without_names_of_protocols_takes_our_rules() -> None:
    hidden = 'mount --bind /dev/null /etc/protocols && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", hidden, sys.executable, _BARE]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    refused = "[('192.0.2.1', 'tcp', 25), ('192.0.2.1', 'udp', 53)]\n"
    assert (tried.returncode, tried.stdout) == (0, refused), tried.stderr
