"""OCI images: how they are named, described, fetched and unpacked. Independent of the rest of `image`.

    reference ─► a source: registry, OCI layout, oci-archive, docker save ─► documents ─► layers ─► a directory
                 (bytes, checked by digest)                                  (values)     (a confined child)

What is read here was written by strangers. Each document, blob and entry has a limit (`limits`), is checked against
the digest that named it, and ends in a value or in one `PilotError`. Nothing of it runs in a machine.
"""
