# What people install for themselves is found without further ado.
for directory in "$HOME/.local/bin" "$HOME/bin"; do
  case ":$PATH:" in *":$directory:"*) ;; *) PATH="$directory:$PATH" ;; esac
done
export PATH
unset directory
