#!/bin/sh
# Give users of the broker what their part needs, and no more. Run where rabbitmqctl works:
#
#   permissions.sh [-p VHOST] [-x PREFIX] orchestrator USER
#   permissions.sh [-p VHOST] [-x PREFIX] worker USER        one user a worker host
#   permissions.sh [-p VHOST] [-x PREFIX] operator USER      for `wlmctl queue list|dead|requeue|purge`
#
# With -n it only prints the three patterns, one a line.
# The user and the vhost must exist (rabbitmqctl add_vhost wlm; rabbitmqctl add_user USER). VHOST is wlm, PREFIX the
# `prefix` of wlmctl.toml, wlm. The three patterns are what may be configured, written and read. None of them matches
# the default exchange: who may write to that may write to every queue. A worker may bind nothing: who may bind from an
# exchange may read all that goes through it.
set -eu

vhost=wlm prefix=wlm only_print=
while getopts np:x: option; do
    case $option in
        n) only_print=1 ;;
        p) vhost=$OPTARG ;;
        x) prefix=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 2 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
part=$1 user=$2

# A dot would let user `a` into the queues of user `a.b`.
case $user in
    '' | *[!A-Za-z0-9_-]*) echo "user '$user': a user's name is made of A-Z a-z 0-9 _ and -" >&2; exit 2 ;;
esac
case $prefix in
    '' | *[!A-Za-z0-9_-]*) echo "prefix '$prefix': a prefix is made of A-Z a-z 0-9 _ and -" >&2; exit 2 ;;
esac

case $part in
    orchestrator)
        configure="^$prefix\\."
        write="^$prefix\\."
        read="^$prefix\\."
        ;;
    worker)
        configure="^$prefix\\.worker\\.$user\\."
        write="^$prefix\\.(results|dead)\$"
        read="^$prefix\\.(work|worker\\.$user)\\."
        ;;
    operator)
        configure="^$prefix\\.worker\\."
        write="^$prefix\\.(work|control|results|dead)\$"
        read="^$prefix\\."
        ;;
    *) echo "part '$part': orchestrator, worker or operator" >&2; exit 2 ;;
esac
if [ -n "$only_print" ]; then
    printf '%s\n' "$configure" "$write" "$read"
    exit
fi
exec rabbitmqctl set_permissions -p "$vhost" "$user" "$configure" "$write" "$read"
