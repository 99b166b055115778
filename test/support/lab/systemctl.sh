#!/bin/sh
# A stand-in for systemctl on a lab gateway that looks like a host of systemd. It knows what an installer needs: which
# units are enabled (as the links that systemd itself reads), and what their ExecStart and ExecStop run.
#
#   systemctl enable|disable|is-enabled|start|stop|restart|is-active|status|daemon-reload [--now] [--no-block] UNIT…
#   systemctl boot            what the init process does: sysctl.d, then every enabled unit

units=/etc/systemd/system
started=/run/systemd/started

die() {
	echo "systemctl (stand-in): $*" >&2
	exit 1
}

# setting NAME UNIT: its values, one a line.
setting() {
	sed -n "s/^$1=//p" "$units/$2"
}

# run NAME UNIT: runs the commands of ExecStart or ExecStop, "-" in front of one forgives its failure.
run() {
	setting "$1" "$2" | while read -r line; do
		command=${line#-}
		sh -c "$command" || test "$command" != "$line" || exit 1
	done
}

start() {
	mkdir -p $started
	run ExecStart "$1" && : >"$started/$1"
}

stop() {
	test ! -e "$started/$1" || { rm "$started/$1" && run ExecStop "$1"; }
}

enable() {
	for target in $(setting WantedBy "$1"); do
		mkdir -p "$units/$target.wants" && ln -sf "$units/$1" "$units/$target.wants/$1"
	done
}

boot() {
	for file in /etc/sysctl.d/*.conf; do
		test ! -e "$file" || sysctl -q -e -p "$file" || echo "$file failed"
	done
	for link in "$units"/*.wants/*.service; do
		test ! -e "$link" || start "${link##*/}" || echo "${link##*/} failed"
	done
}

now= later= words=
for argument; do
	case $argument in
	--now) now=1 ;;
	--no-block) later=1 ;;
	-*) ;;
	*) words="$words $argument" ;;
	esac
done
# shellcheck disable=SC2086 # names of units hold no spaces
set -- $words
action=${1-}
test $# -eq 0 || shift

case $action in
boot) boot 2>&1 && exit 0 ;;
daemon-reload | reset-failed | is-system-running) exit 0 ;;
enable | disable | is-enabled | start | stop | restart | is-active | status) ;;
*) die "knows nothing of '$action'" ;;
esac

# The init process does it, and nobody waits: the caller may hold a lock that the unit wants.
if test -n "$later"; then
	setsid "$0" "$action" "$@" </dev/null >/dev/null 2>&1 &
	exit 0
fi

for unit; do
	case $unit in *.*) ;; *) unit=$unit.service ;; esac
	if test "$action" != disable && test "$action" != stop && test ! -e "$units/$unit"; then
		die "unit $unit not found"
	fi
	case $action in
	enable) enable "$unit" && { test -z "$now" || start "$unit"; } ;;
	disable) { test -z "$now" || stop "$unit"; } && rm -f "$units"/*.wants/"$unit" ;;
	is-enabled) ls "$units"/*.wants/"$unit" >/dev/null 2>&1 ;;
	start) start "$unit" ;;
	stop) stop "$unit" ;;
	restart) stop "$unit" && start "$unit" ;;
	is-active | status) test -e "$started/$unit" ;;
	esac || exit 1
done
