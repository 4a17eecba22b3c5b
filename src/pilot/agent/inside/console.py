"""sprite-console: the shell that a person is given who opens a terminal in a sprite (`sprite console`).

Whose login it is says /etc/passwd, so that `chsh` does what it says; who has replaced SHELL for this one session has
that. Copied into worlds as it is.
"""

SCRIPT = b"""\
#!/bin/sh
# The shell of a person who opens a terminal here, as a login shell.
shell=$SHELL
[ -n "$shell" ] || shell=$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f7)
for each in "$shell" /bin/bash /bin/sh; do
  [ -n "$each" ] && [ -x "$each" ] && exec env SHELL="$each" "$each" -l "$@"
done
echo "sprite-console: there is no shell here" >&2
exit 127
"""
