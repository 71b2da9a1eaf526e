"""Modules of Environment Modules or Lmod: the text that loads them and says so when it cannot."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

#: The file in an environment's own folder that is sourced to load its modules.
ACTIVATE = "activate"

# Old module commands print an error and give 0, so that the list of what is loaded counts. A name may be an alias of
# what is loaded: then the list has grown.
_LOAD = r"""
if ! command -v module >/dev/null 2>&1; then
  for wlm_init in "${LMOD_PKG:-/usr/share/lmod/lmod}/init/sh" "${MODULESHOME:-/usr/share/modules}/init/sh" \
    /usr/share/lmod/lmod/init/sh /usr/share/modules/init/sh /etc/profile.d/lmod.sh /etc/profile.d/modules.sh; do
    if [ -r "$wlm_init" ]; then
      . "$wlm_init"
      break
    fi
  done
  unset wlm_init
fi
if ! command -v module >/dev/null 2>&1; then
  printf 'no command module on %s: neither Environment Modules nor Lmod is set up for this shell\n' "$(uname -n)" >&2
  return 1
fi
wlm_load() {
  wlm_before=":${LOADEDMODULES-}:"
  if module load "$1"; then
    case ":${LOADEDMODULES-}:" in
    "$wlm_before") ;;
    *) return 0 ;;
    esac
    case $wlm_before in *":${1%%/*}:"* | *":${1%%/*}/"*) return 0 ;; esac
  fi
  printf 'module %s cannot be loaded on %s\n' "$1" "$(uname -n)" >&2
  return 1
}
"""


def activate(modules: Sequence[str]) -> str:
    """A text for any POSIX shell to source; it returns 1 at the first module that cannot be loaded."""
    loads = "".join(f"wlm_load {shlex.quote(module)} || return 1\n" for module in modules)
    return f"# Loads the modules of this environment.{_LOAD}{loads}unset -f wlm_load\nunset wlm_before\n"
