# What people install for themselves is found first; what Debian keeps for root, and what the machine has for those inside
# (docs/reference/inside.md), last: /etc/profile has taken it away.
for directory in "$HOME/.local/bin" "$HOME/bin"; do
  case ":$PATH:" in *":$directory:"*) ;; *) PATH="$directory:$PATH" ;; esac
done
for directory in /usr/local/sbin /usr/sbin /sbin /.sprite/bin; do
  case ":$PATH:" in *":$directory:"*) ;; *) PATH="$PATH:$directory" ;; esac
done
export PATH
unset directory
