# Sourced by scripts/test, scripts/demo and .ci/run: Debian packages and a virtual environment outside the checkout.
# shellcheck shell=bash

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin # where sshd is, also for who is not root

# Says why it cannot go on, and ends.
give_up() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Runs a command quietly; what it said is shown when it fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -n 30 "$log" >&2
    rm -f "$log"
    return 1
  fi
}

# missing COMMAND=PACKAGE...: the Debian packages of the commands that are not there.
missing() {
  local pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || echo "${pair#*=}"
  done
}

# install_packages COMMAND=PACKAGE...: installs, as root on Debian or Ubuntu, what is missing; fails otherwise.
install_packages() {
  local packages policy=/usr/sbin/policy-rc.d
  mapfile -t packages < <(missing "$@" | sort -u)
  [ ${#packages[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  export DEBIAN_FRONTEND=noninteractive
  if [ ! -e $policy ]; then # a package that is only wanted for its programs starts no server
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    trap 'rm -f '$policy EXIT
  fi
  echo "installing ${packages[*]}" >&2
  apt-get update -q >/dev/null 2>&1 || true # an old list often still does
  # without its profile, which would make every login shell of the host slower
  quietly apt-get install -y -q --no-install-recommends -o DPkg::Options::=--path-exclude=/etc/profile.d/modules.sh \
    "${packages[@]}" || return 1
  if [ "$(trap -p EXIT)" = "trap -- 'rm -f $policy' EXIT" ]; then
    rm -f $policy
    trap - EXIT
  fi
}

# The first Python that is new enough and can make virtual environments; of an environment that is active, the one it
# was made from, so that make_venv never removes the Python it is about to use.
find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11; do
    "$candidate" 2>/dev/null <<'PYTHON' && return
import ensurepip, os, sys, venv
if sys.version_info < (3, 11):
    sys.exit(1)
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
PYTHON
  done
  return 1
}

# make_venv EXTRA: sets $venv to an environment with wlmctl (editable) and that extra, made anew when pyproject.toml
# changes. WLMCTL_TEST_VENV names one that is used as it is.
make_venv() {
  local extra=$1 python stamp
  if [ -n "${WLMCTL_TEST_VENV:-}" ]; then
    venv=$WLMCTL_TEST_VENV
    return
  fi
  python=$(find_python) || give_up "no Python of 3.11 or newer with venv (Debian: python3-venv)"
  stamp=$(cat "$project/pyproject.toml" <("$python" -VV) <(echo "$python $project $extra") | cksum | tr ' ' -)
  venv=${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/wlmctl/venv-$extra-$(echo "$project" | cksum | cut -d' ' -f1)
  if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "making the environment $venv" >&2
    rm -rf "$venv"
    "$python" -m venv "$venv"
    PIP_DISABLE_PIP_VERSION_CHECK=1 quietly "$venv/bin/pip" install -q --no-compile -e "$project[$extra]" ||
      give_up "pip could not install wlmctl and what it needs"
    echo "$stamp" >"$venv/stamp"
  fi
}
