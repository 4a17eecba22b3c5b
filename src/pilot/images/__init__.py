"""`pilot image` and `pilot run --image`: images of this host, without pilotd.

cli        the command line: what is built here (`image`), and what strangers made (`image.oci`)
origins    where an image comes from: a registry, or files
progress   how far it is, for people
running    a container on a fork of an image
"""
