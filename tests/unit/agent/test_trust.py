"""What programs of a container are told to believe, and what is in the files that they are told of."""

from __future__ import annotations

import pathlib

from pilot.agent import rootfs, trust

_OURS = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"


def test_a_container_is_told_where_there_is_something_to_be_believed() -> None:
    assert trust.of_container(None, {}) == {}
    told = trust.of_container(_OURS, {})
    assert told["SSL_CERT_FILE"] == told["GIT_SSL_CAINFO"] == told["PIP_CERT"] == "/.fly/certificates.pem"
    assert told["NODE_EXTRA_CA_CERTS"] == "/.fly/authority.pem"


def test_what_it_is_given_goes_first_but_where_its_system_keeps_what_it_believes() -> None:
    """distroless images say SSL_CERT_FILE, whose certificates are in ours, too."""
    given = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "CURL_CA_BUNDLE": "/app/own.pem", "PIP_CERT": ""}
    told = trust.of_container(_OURS, given)
    assert told["SSL_CERT_FILE"] == told["PIP_CERT"] == "/.fly/certificates.pem"
    assert "CURL_CA_BUNDLE" not in told


def test_the_files_have_what_the_system_believes_and_ours(tmp_path: pathlib.Path) -> None:
    place, world = tmp_path / "place", tmp_path / "root"
    (world / "etc/ssl/certs").mkdir(parents=True)
    (world / "etc/ssl/certs/ca-certificates.crt").write_text("theirs\n")
    place.mkdir()
    with rootfs.Root.open(str(world)) as root:
        trust.write(str(place), None, root)
        assert list(place.iterdir()) == [], "who never had connectors gets nothing"
        trust.write(str(place), _OURS, root)
        assert (place / "authority.pem").read_text() == _OURS
        assert (place / "certificates.pem").read_text() == f"theirs\n\n{_OURS}"
        trust.write(str(place), None, root)
        assert (place / "authority.pem").read_text() == ""
        assert (place / "certificates.pem").read_text() == "theirs\n\n"
