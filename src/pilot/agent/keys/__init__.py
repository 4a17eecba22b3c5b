"""/.fly/kms: the secret keys of a Machine's app, as files to write a text to and to read what a key makes of it.

No key is here: each use is asked of the host, with the machine's own token (`uses`). `tree` and `opened` decide, and do
no I/O; `server` is the mount.
"""
