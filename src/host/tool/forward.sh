# ----------------------------------------------------------------------------------------------------- what is forwarded

# A gateway that forwards is a router for everybody who can reach it, and was none before its farms came. So where nobody
# forwarded before us, only connections that DNAT translated are forwarded: the lock. It is in force before forwarding is
# switched on, and until it is switched off.
#
# $FORWARD has a line for each address family that we switched on: FAMILY WHERE STATE BEFORE
#   WHERE   nftables or iptables, whose rules hold the lock; "both" while it moves from the one to the other
#   STATE   on or off
#   BEFORE  on where the family was closed before us, so that the lock takes nothing from anybody; what counts while no
#           stack asks for more or less
# A stack may ask: its file in $STACKS then has a second line, "lock-forward on" or "lock-forward off".

# locked FAMILY WHERE: whether the lock of this family stands in these rules.
locked() {
  [ -f "$FORWARD" ] || return 1
  while read -r locked_family locked_where locked_state _; do
    case "$locked_family $locked_state $locked_where" in "$1 on $2" | "$1 on both") return 0 ;; esac
  done <"$FORWARD"
  return 1
}

# locked_families WHERE: those whose lock stands there, a line each.
locked_families() {
  for locked_one in ip ip6; do
    ! locked $locked_one "$1" || echo $locked_one
  done
}

# asked_by_others [FILE]: what the stacks ask for but that of FILE: "on OWNER" or "off OWNER", of one of them.
asked_by_others() {
  for asked_file in "$STACKS"/*; do
    [ ! -f "$asked_file" ] || [ "$asked_file" = "${1:-}" ] ||
      awk 'NR == 1 { asker = $1 } /^lock-forward / { print $2, asker }' "$asked_file"
  done | head -n 1
}

# closed_before FAMILY OLD: nobody forwarded before us: the switch was off (OLD), no policy of FORWARD drops (else somebody sorts
# out what is forwarded), and no bridge gives its frames to that hook, which then are no router's.
closed_before() {
  [ "$2" = 0 ] || return 1
  closed_bridge=/proc/sys/net/bridge/bridge-nf-call-$(ipt "$1")
  for closed_device in /sys/class/net/*/bridge; do
    [ ! -d "$closed_device" ] || [ "$(cat "$closed_bridge" 2>/dev/null)" != 1 ] || return 1
  done
  ! forward_matters "$1" '^-P FORWARD DROP' || return 1
  ! command -v nft >/dev/null 2>&1 ||
    ! nft list chains 2>/dev/null | awk -v family="$1" '/^table / { ours = $2 == family || $2 == "inet" }
      ours && /hook forward .*policy drop/ { found = 1 } END { exit !found }'
}

# lock_forward [FAMILY OLD]: works out what is locked where, with this family too (OLD is "gone": without it), and brings that into
# force where it is something new, or in any case with $lock_anew. A marker sees to it that the next run goes on where this one is killed.
lock_forward() {
  lock_asked=${lock_wish:-$(asked_by_others "${lock_file:-}")}
  lock_asked=${lock_asked%% *}
  lock_where=${plane:-}
  [ -n "$lock_where" ] || lock_where=$(awk 'NR == 1 { print $2 }' "$FORWARD" 2>/dev/null)
  [ -n "$lock_where" ] || { if command -v nft >/dev/null 2>&1; then lock_where=nftables; else lock_where=iptables; fi; }
  { grep -sE '^ip6? ' "$FORWARD" || :; } >"$TMP/forward.old"
  {
    awk '{ print $1, $4 }' "$TMP/forward.old"
    [ -z "${1:-}" ] || [ "$2" = gone ] || grep -q "^$1 " "$TMP/forward.old" ||
      { if closed_before "$1" "$2"; then echo "$1 on"; else echo "$1 off"; fi; }
  } | awk -v where="$lock_where" -v asked="$lock_asked" -v gone="${2:-} ${1:-}" \
    '"gone " $1 != gone { print $1, where, (asked == "" ? $2 : asked), $2 }' >"$TMP/forward.new"
  ! grep -q ' on ' "$TMP/forward.new" || case $lock_where in
    nftables) need nft nftables ;;
    *) awk '{ print ($1 == "ip" ? "iptables" : "ip6tables") "-restore" }' "$TMP/forward.new" >"$TMP/needed"
      while read -r lock_command; do need "$lock_command" iptables; done <"$TMP/needed" ;;
  esac
  [ -n "${lock_anew:-}" ] || ! cmp -s "$TMP/forward.old" "$TMP/forward.new" || return 0
  place "$FARMS/$FORWARD_MARK" true || fail 1 "cannot write $FARMS/$FORWARD_MARK: is /etc writable, and is there room?"
  # While it moves it stands on both sides.
  awk 'NR == FNR { where[$1] = $2; next } { print $1, ($1 in where && where[$1] != $2 ? "both" : $2), $3, $4 }' \
    "$TMP/forward.old" "$TMP/forward.new" >"$TMP/forward.both"
  cmp -s "$TMP/forward.both" "$TMP/forward.new" || lock_step "$TMP/forward.both"
  lock_step "$TMP/forward.new"
  rm -f "$FARMS/$FORWARD_MARK"
}

# lock_step FILE: $FORWARD becomes that, and the kernel follows; or both stay as they were.
lock_step() {
  place "$FORWARD" cat "$1" || fail 1 "cannot write $FORWARD: is /etc writable, and is there room?"
  stored >"$TMP/want" && settle "$TMP/want" && return
  lock_words=$(words)
  place "$FORWARD" cat "$TMP/forward.old" && stored >"$TMP/want" && settle "$TMP/want" && rm -f "$FARMS/$FORWARD_MARK" || :
  fail 1 "cannot lock what this gateway forwards, nothing was switched on: $lock_words"
}

sysctl_path() { echo "/proc/sys/$(echo "$1" | tr . /)"; }

# forward KEY: turn forwarding on, behind its lock, now and for the next boot; the value from before us is remembered once.
forward() {
  forward_path=$(sysctl_path "$1")
  # cat, since read takes a byte at a time and a sysctl ends after its first.
  forward_value=$(cat "$forward_path" 2>/dev/null) || fail 6 "this kernel has no $1: is the address family switched off?"
  # Not ours where it is a link, and not to be read.
  [ ! -L "$SYSCTL_OLD" ] || rm -f "$SYSCTL_OLD"
  if ! grep -qs "^$1 " "$SYSCTL_OLD"; then
    { cat "$SYSCTL_OLD" 2>/dev/null; echo "$1 $forward_value"; } >"$TMP/sysctl"
    place "$SYSCTL_OLD" cat "$TMP/sysctl" || fail 1 "cannot write $SYSCTL_OLD: is /etc writable, and is there room?"
  fi
  # What somebody switched off may have lost its lock as well.
  [ "$forward_value" = 1 ] || [ -n "${settled:-}" ] || lock_anew=1
  lock_forward "$(family_of "$1")" "$(awk -v key="$1" '$1 == key { print $2 }' "$SYSCTL_OLD")"
  sysctl_file
  [ "$forward_value" != 1 ] || return 0
  echo 1 2>/dev/null >"$forward_path" || fail 1 "cannot set $1 to 1: is /proc/sys read-only?"
  # With forwarding on, the kernel stops to heed router advertisements unless accept_ra is 2.
  case $1 in net.ipv6.*)
    ! ip -6 route show default 2>/dev/null | grep -q 'proto ra' ||
      say "note: the IPv6 default route comes from router advertisements; set accept_ra=2 on its interface to keep it" ;;
  esac
}

family_of() { case $1 in net.ipv6.*) echo ip6 ;; *) echo ip ;; esac; }

# boots_locked KEY: whether it is us alone who switch it on at boot, behind its lock.
boots_locked() {
  boots_family=$(family_of "$1")
  locked "$boots_family" nftables || locked "$boots_family" iptables
}

# sysctl_file: what the boot switches on by itself, before it calls us. A family with a lock is none of it: "restore" brings
# the lock first, and where that fails the machine forwards nothing.
sysctl_file() {
  while read -r sysctl_key _; do
    boots_locked "$sysctl_key" || echo "$sysctl_key = 1"
  done <"$SYSCTL_OLD" >"$TMP/sysctl.lines"
  if [ ! -s "$TMP/sysctl.lines" ]; then rm -f "$SYSCTL_FILE" "${SYSCTL_FILE%/*}/.${SYSCTL_FILE##*/}.new"; return; fi
  { echo "# Written by netfilter-lb, which takes it away again."; cat "$TMP/sysctl.lines"; } >"$TMP/sysctl"
  ! cmp -s "$TMP/sysctl" "$SYSCTL_FILE" 2>/dev/null || return 0
  [ -d "${SYSCTL_FILE%/*}" ] || mkdir -m 755 "${SYSCTL_FILE%/*}"
  place "$SYSCTL_FILE" cat "$TMP/sysctl" || fail 1 "cannot write $SYSCTL_FILE: is /etc writable?"
  chmod 644 "$SYSCTL_FILE"
}

# sysctls_back [KEY]: the old values, or that of KEY. Forwarding ends before its lock does.
sysctls_back() {
  [ -f "$SYSCTL_OLD" ] || return 0
  while read -r back_key back_value; do
    [ "${1:-$back_key}" = "$back_key" ] || continue
    echo "$back_value" 2>/dev/null >"$(sysctl_path "$back_key")" || warn "cannot give $back_key its old value $back_value back"
  done <"$SYSCTL_OLD"
  [ -n "${1:-}" ] || rm -f "$SYSCTL_FILE"
}

# leave_ipv6: the last farm with an IPv6 service is gone, so IPv6 is forwarded no more, unless it was before us.
leave_ipv6() {
  grep -qs '^net\.ipv6\.' "$SYSCTL_OLD" || return 0
  # What is on trial may bring it back.
  for leave_file in "$TRIALS"/*.trial "$FARMS"/*.rules; do
    case $leave_file in *.trial) [ ! -f "$leave_file" ] || return 0 ;; esac
    [ ! -f "$leave_file" ] || ! grep -q '^# service [^ ]*:' "$leave_file" || return 0
  done
  sysctls_back net.ipv6.conf.all.forwarding
  sed '/^net\.ipv6\./d' "$SYSCTL_OLD" >"$TMP/sysctl" && place "$SYSCTL_OLD" cat "$TMP/sysctl" || fail 1 "cannot write $SYSCTL_OLD: is /etc writable?"
  lock_forward ip6 gone
  sysctl_file
}
