#!/bin/sh
# netfilter-lb: holds the load-balancer farms of one Linux gateway.
#
# It reads a farm's rule set (docs/rule-set.md), brings the kernel from the set that is in force to the new one without
# a packet going astray, and keeps the set in /etc/netfilter-lb for the next boot. Whatever goes wrong, the last good set
# stays in force: sets are declarative, so going back is the same walk with the two ends exchanged.
#
# Two ways lead from one set to another:
#   change  the fast one: works out the steps from the stored text and never looks at the kernel;
#   settle  the sure one: reads the kernel, compares it with the text, repairs. Taken at boot, after a failure, and
#           after an apply that was killed.
#
# Plain POSIX sh and awk: it must run under dash and busybox ash.
#
# Programs for awk stand in single quotes, and "a && b || c" has a c that ends the run or does nothing:
# shellcheck disable=SC2016,SC2015

set -u
umask 077
export LC_ALL=C
# A non-interactive ssh often comes without the sbin folders. Behind sudo the caller's PATH does not count: whoever may
# run this tool and nothing else must not choose its awk, and sudoers may be without secure_path.
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"
[ -z "${SUDO_UID:-}" ] || PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A cut connection (HUP, then writes into a closed pipe) must not stop a commit in the middle.
trap '' HUP PIPE

PROTOCOL=1
VERSION=0 # the package's, put in where the chapters are joined
STATE=/etc/netfilter-lb
FARMS=$STATE/farms
STACKS=$STATE/stacks
TRIALS=$STATE/trials
# The sets as they came in, to say what a hand changed in a stored one.
SENT=$STATE/sent
# One file a stack that wants repairs: every how many seconds.
REPAIRS=$STATE/repair
SYSCTL_OLD=$STATE/sysctl.old
SYSCTL_FILE=/etc/sysctl.d/90-netfilter-lb.conf
FORWARD=$STATE/forward
# Among the farms' files that an unfinished run leaves, and no farm's name.
FORWARD_MARK=0-forward.pending
# Farms that come in as a group: as they are to be stored, and whether they are not in force yet, or are.
NEXT=$STATE/next
GROUP_PENDING=$FARMS/0-group.pending
GROUP_COMMIT=$FARMS/0-group.commit
UNIT=/etc/systemd/system/netfilter-lb.service
UNIT_LINK=/etc/systemd/system/multi-user.target.wants/netfilter-lb.service
REPAIR_UNIT=/etc/systemd/system/netfilter-lb-repair.service
REPAIR_TIMER=/etc/systemd/system/netfilter-lb-repair.timer
REPAIR_LINK=/etc/systemd/system/timers.target.wants/netfilter-lb-repair.timer
LOCK=/run/netfilter-lb.lock
# A program of many farms applies up to 64 of them at a time on a large machine.
LOCK_WAIT=${NETFILTER_LB_LOCK_WAIT:-120}
TMP=/run/netfilter-lb.$$
SELF=/usr/local/sbin/netfilter-lb

# ---------------------------------------------------------------------------------------------------------- messages

# say: a closed standard output is no reason to fail (the caller may be gone while we finish).
say() { printf '%s\n' "$*" 2>/dev/null || :; }
warn() { printf 'netfilter-lb: %s\n' "$*" >&2 2>/dev/null || :; }
fail() { fail_code=$1; shift; warn "$*"; exit "$fail_code"; }

# to_syslog: where there is one, since mostly nobody is connected.
to_syslog() {
  ! command -v logger >/dev/null 2>&1 || logger -t netfilter-lb -p daemon.warning -- "$*" 9>&- >/dev/null 2>&1 || :
}

usage() {
  cat <<EOF
netfilter-lb holds the load-balancer farms of this gateway.

  netfilter-lb prepare --owner PROJECT/STACK/GATEWAY [--version N] [--plane nftables|iptables]
               [--lock-forward on|off] [--repair-every SECONDS]
  netfilter-lb apply FARM --owner PROJECT/STACK/GATEWAY --length BYTES --sha256 HEX [--ssh "\$SSH_CONNECTION"]
               [--confirm SECONDS] [--repair HEX] < SET
                                  with --confirm on trial: unless it is confirmed within that time, this gateway goes
                                  back to the set before; with --repair the machine is mended too, and verify
                                  tells HEX again
  netfilter-lb apply-group GROUP --owner PROJECT/STACK/GATEWAY --length BYTES --sha256 HEX [--ssh "\$SSH_CONNECTION"] < SETS
                                  the sets of many farms, one after the other, as one change: what differs from what is
                                  stored comes in, and farms that GROUP had before and SETS lacks go
  netfilter-lb confirm FARM --owner PROJECT/STACK/GATEWAY --sha256 HEX [--ssh "\$SSH_CONNECTION"] [--within SECONDS]
                                  the set stays; one that was not confirmed in time is brought in again, on trial
  netfilter-lb expire             go back where a trial is over (a process that apply leaves behind does it by itself)
  netfilter-lb remove FARM --owner PROJECT/STACK/GATEWAY
  netfilter-lb remove-group GROUP --owner PROJECT/STACK/GATEWAY
  netfilter-lb retire --owner PROJECT/STACK/GATEWAY [--uninstall]
  netfilter-lb restore            bring back every stored farm (the boot calls it)
  netfilter-lb status [FARM] [--json]
                                  farms, their owners, whether the kernel still has what is stored, and what each backend
                                  got: connections since its farm came (in iptables: since the farm last changed), and
                                  what connection tracking has of it now
  netfilter-lb list               one line a farm: FARM OWNER DATA-PLANE
  netfilter-lb verify [FARM] [--json]
                                  what differs from what was applied: in the kernel, in the stored sets, in forwarding and
                                  in the units; counters, learned clients, order of elements and others' rules do not count
  netfilter-lb repair             a quick look, and where something of ours is missing, all of it comes back (a timer calls it)
  netfilter-lb hand-over --owner PROJECT/STACK/GATEWAY --to PROJECT/STACK/GATEWAY
                                  gives the farms of one stack to another, which applies them from then on
  netfilter-lb replaces           whether this file may take the place of the installed tool: not that of a newer one
  netfilter-lb version | help

Exit codes: 0 done; 1 failed, the last good set is still in force; 2 usage; 3 refused (owner, claimed service, SSH);
4 damaged rule set (length, hash, header); 5 another netfilter-lb or iptables holds the lock; 6 something is missing on
the gateway; 7 verify found drift; 8 the set was not confirmed in time (and may be on trial again).

The lock is waited for $LOCK_WAIT seconds (NETFILTER_LB_LOCK_WAIT). State: $STATE, one file a farm.
EOF
}

# need COMMAND PACKAGE: say what is missing and which package brings it, before anything is touched.
need() {
  command -v "$1" >/dev/null 2>&1 || fail 6 "$1 is not installed here: install the package $2 and run this again"
}

# clean: text of others without what a terminal would obey, and awks take in different ways.
clean() { tr -c '\11\12\40-\176' '?'; }

# words [FILE]: what nft or iptables said, on one line.
words() {
  clean <"${1:-$TMP/words}" | awk '/^[[:space:]~^]*$/ || /^Try / { next }
    { sub(/^\/[^ ]*: /, ""); gsub(/[[:space:]]+/, " "); text = text (text == "" ? "" : " / ") $0 }
    END { print substr(text, 1, 400) }'
}

# words_or_room: where neither said anything, it was the shell that could not go on.
words_or_room() {
  words_said=$(words)
  # Not echo, which obeys backslashes.
  printf '%s\n' "${words_said:-is there room in /run, and memory?}"
}
