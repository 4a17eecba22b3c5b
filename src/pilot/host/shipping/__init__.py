"""An image (OCI) of what a sprite has become: a layer of the standard base, and one of what was changed since.

rules      what is left out, as data
layer      a process of its own: two states of a disk → the upper layer, and a report
settings   how the image is run, from the sprite's environment and services
archive    the documents, and all of it as the tar of an OCI layout (`oci-archive`)

Nothing here knows a store or a volume (`services.shipping` does).
"""
