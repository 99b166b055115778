# --------------------------------------------------------------------------------------------------------------- repair

# A firewall manager that reloads, or a hand that flushes, takes the farms' rules along without a word. "repair" brings
# them back, called every few seconds by a timer: so it first looks only at what such a flush cannot leave behind, which
# costs little however many farms there are, and takes the lock only where something is missing.

repair_unit() {
  cat <<EOT
[Unit]
Description=Repair of this gateway's load-balancer farms
Documentation=file:$STATE
After=${UNIT##*/}
ConditionPathIsDirectory=$FARMS

[Service]
Type=oneshot
ExecStart=$SELF repair
StandardOutput=null
LogLevelMax=warning
EOT
}

# repair_timer SECONDS: counted from the end of a run, so that two never meet. systemd's own accuracy is a minute.
repair_timer() {
  cat <<EOT
[Unit]
Description=Repair of this gateway's load-balancer farms, every $1 s
Documentation=file:$STATE

[Timer]
OnActiveSec=$1
OnUnitInactiveSec=$1
AccuracySec=1s

[Install]
WantedBy=timers.target
EOT
}

# repair_interval: the shortest that a stack asks for; nothing where none does.
repair_interval() {
  for repair_file in "$REPAIRS"/*; do [ ! -f "$repair_file" ] || cat "$repair_file"; done | sort -n | head -n 1
}

# repair_every OWNER SECONDS: what this stack asks for; without SECONDS it asks for nothing.
repair_every() {
  repair_file=$REPAIRS/$(stack_name "$1")
  if [ -z "$2" ]; then
    rm -f "$repair_file"
  else
    [ -d "$REPAIRS" ] || mkdir "$REPAIRS" || fail 1 "cannot make $REPAIRS: is /etc writable?"
    place "$repair_file" echo "$2" || fail 1 "cannot write $repair_file: is /etc writable, and is there room?"
  fi
  repair_seconds=$(repair_interval)
  if [ -n "$repair_seconds" ]; then install_repair "$repair_seconds"; else remove_repair; fi
}

install_repair() {
  repair_new=''
  if [ -d /etc/systemd ]; then
    [ -d "${REPAIR_LINK%/*}" ] || (umask 022 && mkdir -p "${REPAIR_LINK%/*}") || fail 1 "cannot make ${REPAIR_LINK%/*}: is /etc writable?"
    repair_unit >"$TMP/unit"
    cmp -s "$TMP/unit" "$REPAIR_UNIT" || { place_unit "$REPAIR_UNIT" && repair_new=1; }
    repair_timer "$1" >"$TMP/unit"
    cmp -s "$TMP/unit" "$REPAIR_TIMER" || { place_unit "$REPAIR_TIMER" && repair_new=1; }
    [ -L "$REPAIR_LINK" ] || { ln -s "$REPAIR_TIMER" "$REPAIR_LINK" && repair_new=1; } || fail 1 "cannot make the link $REPAIR_LINK"
  fi
  if [ ! -d /run/systemd/system ]; then
    say "note: systemd does not run here: have \"$SELF repair\" called every $1 s, by a loop of your init system or by cron"
  elif [ -n "$repair_new" ]; then
    systemctl daemon-reload 9>&- 2>/dev/null && systemctl restart --no-block "${REPAIR_TIMER##*/}" 9>&- 2>/dev/null || :
  fi
}

place_unit() { place "$1" cat "$TMP/unit" && chmod 644 "$1" || fail 1 "cannot write $1: is /etc writable?"; }

remove_repair() {
  [ -e "$REPAIR_TIMER" ] || [ -e "$REPAIR_UNIT" ] || [ -L "$REPAIR_LINK" ] || return 0
  [ ! -d /run/systemd/system ] || systemctl stop --no-block "${REPAIR_TIMER##*/}" 9>&- 2>/dev/null || :
  rm -f "$REPAIR_LINK" "$REPAIR_TIMER" "$REPAIR_UNIT"
  [ ! -d /run/systemd/system ] || systemctl daemon-reload 9>&- 2>/dev/null || :
}

# wanted_shape: what the look asks for, a line each: "nft FAMILY CHAIN"; "FAMILY TABLE CHAIN RULES" of the shared chains
# of iptables, at least 1 of a tree; and "closed FAMILY RULES", the accepts that nftables farms need where FORWARD drops.
wanted_shape() {
  set -- "$FARMS"/*.rules
  [ -f "$1" ] || return 0
  awk -v WALK=$WALK '
    /^# data-plane / { plane = $3; next }
    /^# service / { if (plane == "nftables") { family = $3 ~ /:/ ? "ip6" : "ip"; if (!seen[$3, $4, $5]++) closed[family]++ } next }
    /^# ip6?$/ { family = $2; next }
    plane == "nftables" && /^table / { family = $2; next }
    plane == "nftables" && /^add element / { asked[$3 " " $5] = 1; next }
    plane == "nftables" { if (/^\tchain /) print "nft " family " " $2; next }
    /^\*/ { table = substr($1, 2); next }
    /^-A NFLB-[A-Z]+ / { if (!seen[family, table, $0]++) rules[family " " table " " $2]++ }
    # The chains of hooks that ask this map.
    function hooks(map) {
      if (map ~ / source/) return "source"
      return (map ~ /guarded/ ? "guard" : "translate") (map ~ / interface_/ ? "" : (map ~ /guarded/ ? " output_guard" : " output"))
    }
    function at_least(lines) { return lines > WALK ? 1 : lines }
    END {
      for (map in asked) {
        n = split(hooks(map), chain, " ")
        family = map; sub(/ .*/, "", family)
        for (i = 1; i <= n; i++) if (!based[family, chain[i]]++) print "nft " family " " chain[i]
      }
      for (shared in rules) print shared, at_least(rules[shared])
      for (family in closed) print "closed", family, at_least(closed[family] + rules[family " filter NFLB-FORWARD"])
    }' "$@"
}

# shape_of FAMILY: the tables that $TMP/shape asks for, in the form of iptables-save. Legacy reads a table as a whole in any
# case; the other variant lists single chains far sooner than all.
shape_of() {
  shape_command=$(ipt "$1")
  command -v "$shape_command" >/dev/null 2>&1 || return 0
  case $("$shape_command" -V 2>/dev/null) in
    *legacy*) "$shape_command-save" 2>/dev/null; return ;;
  esac
  awk -v family="$1" '$1 == family { print $2, $3 } $1 == "closed" && $2 == family { print "filter NFLB-FORWARD" }' "$TMP/shape" | sort -u |
    while read -r shape_table shape_chain; do
      echo "*$shape_table"
      "$shape_command" -w 10 -t "$shape_table" -S "${shape_chain#NFLB-}" 2>/dev/null
      "$shape_command" -w 10 -t "$shape_table" -S "$shape_chain" 2>/dev/null
    done
}

# absent: the cheap look. Prints what of ours is not there.
absent() {
  wanted_shape >"$TMP/shape" || return 1
  # The lock on what is forwarded: a chain, or three rules.
  { locked_families nftables | sed 's/.*/nft & forward/'; locked_families iptables | sed 's/.*/& mangle NFLB-FORWARD 3/'; } >>"$TMP/shape"
  for absent_family in ip ip6; do
    if grep -q "^nft $absent_family " "$TMP/shape"; then
      nft -t list chains $absent_family 2>/dev/null
    fi >"$TMP/chains"
    if grep -q "^$absent_family " "$TMP/shape" || { grep -q "^closed $absent_family " "$TMP/shape" && forward_matters $absent_family "$IPT_DROPS"; }; then
      shape_of $absent_family
    fi >"$TMP/tables"
    awk -v family=$absent_family "$AWK_CLOSES"'
      role == "chains" { if (/^table /) ours = $3 == "netfilter_lb"; else if (ours && $1 == "chain") has[$2] = 1; next }
      role == "tables" && /^\*/ { table = substr($1, 2); next }
      role == "tables" {
        if ($1 == "-A" && $2 ~ /^NFLB-/) rules[table, $2]++
        else if ($1 == "-A" && $4 == "NFLB-" $2) jumps[table, $2] = 1
        if (table == "filter" && closes_forward($0)) closed = 1
        next
      }
      $1 == "nft" && $2 == family && !($3 in has) { print family " chain " $3 }
      $1 == family { hook($2, $3, $4) }
      $1 == "closed" && $2 == family && closed { hook("filter", "NFLB-FORWARD", $3) }
      function hook(table, chain, wanted,    from) {
        from = substr(chain, 6)
        if (!((table, from) in jumps)) print family " " table " " from " -j " chain
        if (rules[table, chain] < wanted) print family " " table " " chain ", " rules[table, chain] + 0 " rules of " wanted
      }' role=chains "$TMP/chains" role=tables "$TMP/tables" role=shape "$TMP/shape"
  done
  is_prepared && [ -f "$SYSCTL_OLD" ] && while read -r absent_key _; do
    [ "$(cat "$(sysctl_path "$absent_key")" 2>/dev/null)" = 1 ] || echo "$absent_key = 1"
  done <"$SYSCTL_OLD"
  return 0
}

# mend_machine: the units and what forwards, where a stack has set the gateway up. (In its own shell: a unit that cannot be
# written is no reason to leave the rules away.)
mend_machine() {
  is_prepared || return 0
  (install_unit && mend_seconds=$(repair_interval) && { [ -z "$mend_seconds" ] || install_repair "$mend_seconds"; }) >/dev/null
  [ -f "$SYSCTL_OLD" ] || return 0
  while read -r mend_key _; do forward "$mend_key"; done <"$SYSCTL_OLD"
}

command_repair() {
  [ -d "$FARMS" ] || return 0
  begin
  absent >"$TMP/absent" || fail 1 "cannot read the stored farms in $FARMS"
  [ -s "$TMP/absent" ] || return 0
  # Whoever has the lock is changing these very rules, or reads them: the next round looks again.
  try_lock "repair" || return 0
  absent >"$TMP/absent" || fail 1 "cannot read the stored farms in $FARMS"
  [ -s "$TMP/absent" ] || return 0
  state_folders
  recover_if_killed
  bring_back
  mend_machine
  repair_words="repaired $(grep -c '^# farm ' "$TMP/want") farms: missing was $(awk '
    NR <= 8 { printf "%s%s", (NR > 1 ? "; " : ""), $0 } END { if (NR > 8) printf "; and %d more", NR - 8 }' "$TMP/absent")"
  say "$repair_words"
  to_syslog "$repair_words"
}
