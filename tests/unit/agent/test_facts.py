"""What the machine has, uses, and is connected to: from the texts of /proc."""

from __future__ import annotations

import socket
import struct
import sys

import pytest

from pilot.agent import network_facts, sysinfo

MEMINFO = "MemTotal:  4096 kB\nMemFree: 1024 kB\nMemAvailable: 2048 kB\nHugePages_Total: 0\nCached: 8 kB\n"


def test_memory_is_in_bytes_and_what_is_not_told_is_0() -> None:
    found = sysinfo.parse_memory(MEMINFO)
    assert (found.mem_total, found.mem_free, found.cached, found.slab) == (4 << 20, 1 << 20, 8192, 0)


def test_a_machine_with_a_limit_is_told_of_its_own_memory() -> None:
    found = sysinfo.within(sysinfo.parse_memory(MEMINFO), 1 << 20, 300 << 10)
    assert (found.mem_total, found.mem_free, found.mem_available) == (1 << 20, 724 << 10, 724 << 10)
    assert sysinfo.within(found, 1 << 20, 9 << 20).mem_available == 0


def test_processors_drives_interfaces_and_files() -> None:
    cpus = sysinfo.parse_cpus("cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 0 50 0 0 0 0 0 0 0\nintr 5\n")
    assert (cpus["0"].user, cpus["0"].system, list(cpus)) == (1.0, 0.5, ["0"])
    text = " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n 254 1 vda1 1 2 3 4 5 6 7 8 9 10 11\n 7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
    (drive,) = sysinfo.parse_disks(text)
    assert (drive.name, drive.reads_completed, drive.io_in_progress, drive.time_io_weighted) == ("vda", 1, 9, 11)
    numbers = " ".join(map(str, range(16)))
    (net,) = sysinfo.parse_net(f"a\nb\n    lo: {numbers}\n  eth0: {numbers}\n")
    assert (net.name, net.recv_bytes, net.sent_bytes, net.sent_compressed) == ("eth0", 0, 8, 15)
    assert sysinfo.parse_files("320\t0\t1000\n").maximum == 1000


def test_what_is_read_is_of_this_machine() -> None:
    found = sysinfo.read(1 << 20)
    assert found.memory.mem_total == 1 << 20
    assert len(found.load_average) == 3
    assert found.cpus


def _word(address: str) -> str:
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"


@pytest.mark.skipif(sys.byteorder != "little", reason="the text is of a machine with this order")
def test_routes() -> None:
    head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    default = f"eth0\t{_word('0.0.0.0')}\t{_word('10.0.0.1')}\t0003\t0\t0\t5\t{_word('0.0.0.0')}\t0\t0\t0\n"
    net = f"eth0\t{_word('10.0.0.0')}\t{_word('0.0.0.0')}\t0001\t0\t0\t0\t{_word('255.255.255.0')}\t0\t0\t0\n"
    rows = network_facts.parse_routes(head + default + net)
    assert [(row.destination, row.gateway, row.metric) for row in rows] == [
        ("0.0.0.0/0", "10.0.0.1", 5), ("10.0.0.0/24", None, 0),
    ]  # fmt: skip
    six = "fd000000000000000000000000000000 40 " + "0" * 32 + " 00 " + "0" * 32 + " 00000100 1 0 00000001     eth0\n"
    (row,) = network_facts.parse_routes6(six + six.replace("eth0", "lo"))
    assert (row.destination, row.gateway, row.metric, row.interface) == ("fd00::/64", None, 256, "eth0")


def test_the_network_is_read_from_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = network_facts.read()
        assert server.getsockname()[1] in {port.port for port in found.ports}
    (lo,) = [row for row in found.interfaces if row.name == "lo"]
    assert lo.index == 1
    assert lo.mtu > 0
