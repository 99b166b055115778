# ------------------------------------------------------------------------------------------------------------- commands

command_prepare() {
  [ -z "$version" ] || [ "$version" = $PROTOCOL ] ||
    fail 6 "the caller speaks version $version of the gateway protocol and this tool version $PROTOCOL: install the matching netfilter-lb"
  need awk mawk
  need sha256sum coreutils
  case $plane in nftables) need nft nftables ;; iptables) need iptables-restore iptables ;; esac
  begin
  lock "prepare"
  state_folders
  known_sets
  lock_file=$(stack_file "$owner") lock_anew=1
  prepare_other=$(asked_by_others "$lock_file")
  case $lock_wish-$prepare_other in
    on-off* | off-on*)
      fail 3 "$owner asks for --lock-forward $lock_wish and ${prepare_other#* } for ${prepare_other%% *}: a gateway has one answer" ;;
  esac
  forward net.ipv4.ip_forward
  install_unit
  { echo "$owner"; [ -z "$lock_wish" ] || echo "lock-forward $lock_wish"; } >"$TMP/stack"
  [ ! -L "$lock_file" ] && cmp -s "$TMP/stack" "$lock_file" 2>/dev/null || place "$lock_file" cat "$TMP/stack" ||
    fail 1 "cannot write $lock_file: is /etc writable, and is there room?"
  repair_every "$owner" "$repair_every"
  say "prepared for $owner"
}

# replaces: a stack that has the newer package may need what only its tool can do.
replaces() {
  [ -x "$SELF" ] || return 0
  replaces_there=$("$SELF" version 2>/dev/null | sed -n 's/^netfilter-lb \([0-9][^ ]*\) protocol .*/\1/p')
  [ -n "$replaces_there" ] || return 0
  printf '%s\n%s\n' "$VERSION" "$replaces_there" | awk -F '[.+-]' '
    NR == 1 { for (i = 1; i <= 3; i++) mine[i] = $i + 0 }
    NR == 2 { for (i = 1; i <= 3; i++) if ($i + 0 != mine[i]) exit ($i + 0 > mine[i]) }' ||
    fail 6 "netfilter-lb $replaces_there is installed on this gateway, and this program brings $VERSION: a newer one is in use here." \
      "Update pulumi-netfilter-lb to $replaces_there or newer; to go back on purpose, remove $SELF on the gateway first"
}

# take_payload WHAT: all of standard input, before the lock: a slow sender must not hold others up.
take_payload() {
  cat >"$TMP/set" || fail 1 "cannot keep $1, nothing was changed: is there room in /run?"
  need sha256sum coreutils
  payload_hash=$(sha256sum <"$TMP/set")
  if [ "${payload_hash%% *}" != "$sha256" ] || [ "$length" -eq 0 ]; then
    payload_length=$(($(wc -c <"$TMP/set")))
    [ "$payload_length" = "$length" ] ||
      fail 4 "$1 arrived with $payload_length bytes instead of $length: was the connection cut? Run this again; if it" \
        "stays so, a start-up file of the user's shell may read standard input"
    fail 4 "$1 has the SHA-256 ${payload_hash%% *} instead of $sha256: it was changed on the way, run this again"
  fi
}

# check_payload: of a farm alone.
check_payload() {
  payload_fault=$(check_set "$TMP/set" "$farm") ||
    fail 1 "the rule set of farm $farm cannot be checked, nothing was changed: is there room in /run, and memory?"
  [ -z "$payload_fault" ] || fail 4 "the rule set of farm $farm is damaged: $payload_fault"
}

# stand: which set is stored of the farm, whose and since when, and whether the stack is set up here.
stand() {
  stand_owner='' stand_hash='' stand_when='' stand_stack=''
  stand_file=${stand_file:-$(stack_file "$owner")}
  [ ! -f "$stand_file" ] || stand_stack=1
  [ ! -f "$FARMS/$farm.rules" ] || while read -r _ stand_word stand_value; do
    case $stand_word in
      owner) stand_owner=$stand_value ;;
      sha256) stand_hash=$stand_value ;;
      applied) stand_when=$stand_value; break ;;
    esac
  done <"$FARMS/$farm.rules"
} 2>/dev/null

# outrun WHAT: has another run of this stack come in since "stand" looked? One that began later (the other operator, the pulumi up
# after one that was killed) is not undone by one that knows nothing of it. What a farm of the stack took over is no reason: services
# move within one pulumi up.
outrun() {
  outrun_hash=$stand_hash outrun_stack=$stand_stack
  stand
  [ -z "$outrun_stack" ] || [ -n "$stand_stack" ] ||
    fail 3 "$owner was retired from this gateway while this run waited, so farm $farm $1; run pulumi up again if it shall be there"
  case $stand_hash in '' | "$outrun_hash" | "${sha256:-none}" | partly-taken-over) return ;; esac
  outrun_words="another run of $stand_owner changed farm $farm (sha256 $stand_hash, begun at $stand_when) while this one (begun at $now) waited"
  # ISO times sort as text.
  [ "$(printf '%s\n%s\n' "$now" "$stand_when" | sort | tail -n 1)" = "$now" ] ||
    fail 3 "$outrun_words, so farm $farm $1; run this again if yours shall count"
  say "note: $outrun_words"
}

# entry: the file as it is stored: where it came from, then the set, in which "web.farm" becomes "web.9f31c2d4" after the
# set's hash. So chains of two versions stand side by side while the elements move from the one to the other, and a
# chain in use never changes.
STORED_BY='# netfilter-lb: stored by "netfilter-lb apply", restored at boot; edits here are lost'
entry() {
  printf '%s\n# owner %s\n# sha256 %s\n# serial %s\n' "$STORED_BY" "$owner" "$sha256" "$serial"
  [ -z "$repair" ] || printf '# repair %s\n' "$repair"
  printf '# applied %s\n' "$now"
  named "$short" "$sha256" <"$TMP/set"
}

# named SHORT HASH: a set as it is stored.
named() { sed "s/\(goto \|^.chain \)$1\.farm/\1$1.${2%"${2#????????}"}/g"; }

# unnamed SHORT HASH: a stored set as it came in.
unnamed() { sed "s/\(goto \|^.chain \)$1\.${2%"${2#????????}"}/\1$1.farm/g"; }

read_facts() {
  stored_owner='' stored_sha='' stored_repair='' stored_group='' serial=1 taken='' look_forward='' leaving='' planes='' ipv6=''
  judge "$TMP/set" "$farm" "$owner" "$ssh" >"$TMP/facts" || fail 1 "cannot read the stored farms in $FARMS, nothing was changed: is there room in /run?"
  : >"$TMP/fresh"
  while read -r fact value; do
    case $fact in
      refuse) fail 3 "$value" ;;
      owner) stored_owner=$value ;;
      sha) stored_sha=$value ;;
      repair) stored_repair=$value ;;
      group) stored_group=$value ;;
      serial) serial=$value ;;
      short) short=$value ;;
      plane) planes="$planes $value" ;;
      ipv6) ipv6=1 ;;
      taken) taken="$taken $value" leaving=1 ;;
      gone) look_forward=1 leaving=1 ;;
      fresh) look_forward=1; echo "$value" >>"$TMP/fresh" ;;
    esac
  done <"$TMP/facts"
}

# need_sets FILE…: ipset, where a text has sets.
need_sets() { ! grep -q '^create ' "$@" || need ipset ipset; }

# need_planes FILE…: the programs that the planes in $planes call ("nft", "ip", "ip6"), and the texts.
need_planes() {
  case $planes in *ip*) need_sets "$@" ;; esac
  case $planes in *nft*) need nft nftables ;; esac
  case "$planes " in *" ip "*) need iptables-restore iptables ;; esac
  case "$planes " in *" ip6 "*) need ip6tables-restore iptables ;; esac
}

# planes_of FILE: which planes a text lives on.
planes_of() {
  planes=$(awk '/^# data-plane / { plane = $3 }
    /^# service / { p = plane == "nftables" ? "nft" : ($3 ~ /:/ ? "ip6" : "ip"); if (!seen[p]++) printf " %s", p }' "$1")
}

# is_stored FILE: whether it still holds the set that came in, and not what somebody made of it by hand.
is_stored() {
  entry | sed '1,/^# applied /d' >"$TMP/named"
  sed '1,/^# applied /d' "$1" | cmp -s - "$TMP/named"
}

command_apply() {
  begin
  stand
  take_payload "the rule set of farm $farm"
  check_payload
  lock "apply $farm"
  outrun "is not applied"
  state_folders
  recover_if_killed
  apply_set
}

# apply_set: brings $TMP/set in.
apply_set() {
  read_facts
  for taken_farm in $taken; do
    ! on_trial "$taken_farm" ||
      fail 3 "farm $taken_farm, whose services farm $farm takes over, is on trial: run this again when that is over"
  done
  old=$FARMS/$farm.rules
  [ -f "$old" ] || old=$TMP/none
  make_ready "$old" "$TMP/set"
  [ -z "$repair" ] || mend_machine
  # Only a set that changes something has anything to go back to.
  if [ -n "$confirm" ] && { [ "$stored_sha" != "$sha256" ] || on_trial "$farm"; }; then start_trial; fi
  if [ "$stored_sha" = "$sha256" ] && is_stored "$old" && look && drift "$old" "$farm"; then
    # A farm that comes alone is in no group any more.
    if [ "$stored_owner" != "$owner" ] || [ "$stored_repair" != "$repair" ] || [ -n "$stored_group" ]; then
      place "$FARMS/$farm.rules" entry || fail 1 "cannot write $FARMS/$farm.rules: is /etc writable, and is there room?"
    fi
    settle_trial
    say "unchanged: farm $farm"
    return
  fi
  need_room
  # Not by way of another name: cut short, it tells the next run the same.
  write_new "$FARMS/$farm.pending" entry ||
    fail 1 "cannot write $FARMS/$farm.pending, nothing was changed: is /etc writable, and is there room?"
  changed="$farm$taken"
  new=$FARMS/$farm.pending
  [ -z "$taken" ] || take_over
  who_leaves "$old" "$new"
  if [ "$stored_sha" = "$sha256" ]; then repair; else reach "$old" "$new" "applying farm $farm"; fi
  # The next boot restores what is stored, and a caller who hears of a failure takes the old set to be in force.
  commit || {
    put_back "storing farm $farm" "cannot write $FARMS/$farm.rules"
    fail 1 "cannot write $FARMS/$farm.rules, the last good set is in force again: is /etc writable?"
  }
  settle_trial
  wind_up "applied: farm $farm" "$FARMS/$farm.rules"
}

# make_ready OLD NEW: whatever the change needs of the machine.
make_ready() {
  need_planes "$@"
  # What a helper expects is opened in FORWARD as well.
  ! grep -q '^	ct helper ' "$@" || look_forward=1
  [ -z "$ipv6" ] || forward net.ipv6.conf.all.forwarding
}

# wind_up WORDS NEW: a change is in force and stored. What it leaves over goes, and the caller is told.
wind_up() {
  case "$planes " in *" ip "* | *" ip6 "*) ipt_clear_strays ;; esac
  [ -z "$leaving" ] || nft_sweep
  forget_clients
  forget_flows "$TMP/fresh"
  forget_leaving
  say "$1"
  uncut "$2"
  [ -z "$leaving" ] || leave_ipv6
  [ -z "$look_forward" ] || foreign_drops
}

# commit: the set that is in force is the stored one. After a take-over .pending stays until the farms that lost are
# stored without their services, so that a kill in between is seen and put right.
commit() {
  if [ -n "$taken" ]; then
    place "$FARMS/$farm.rules" entry && store_lost && rm -f "$FARMS/$farm.pending" || return 1
  else
    rename "$FARMS/$farm.pending" "$FARMS/$farm.rules" || return 1
  fi
  # For "verify" alone, which minds no half of it.
  rename "$TMP/set" "$SENT/$farm" || rm -f "$SENT/$farm"
}

# take_over: services that come from other farms of this stack move in the same swap: both sides of the change then
# hold all farms that it touches.
take_over() {
  mkdir "$TMP/lost"
  set --
  for taken_farm in $taken; do set -- "$@" "$FARMS/$taken_farm.rules"; done
  survive "$TMP/lost" "$@" "$new" >"$TMP/new" && cat "$old" "$@" >"$TMP/old" ||
    fail 1 "cannot read the farms$taken, whose services farm $farm takes over"
  old=$TMP/old new=$TMP/new
}

# repair: the bytes are the same but the kernel has drifted.
repair() {
  settle_with "$new" || reach "$old" "$new" "repairing farm $farm"
}

# take_away WHAT FARM…: their rules, then their files. Of several a note says which, so that a run that is killed leaves all or none of them;
# a full disk has no room for it, and must not keep them.
take_away() {
  away_what=$1
  shift
  changed="$*" look_forward=1
  set --
  for away_farm in $changed; do set -- "$@" "$FARMS/$away_farm.rules"; done
  need_room
  cat "$@" >"$TMP/old" && planes_of "$TMP/old" || fail 1 "cannot read $*, nothing was changed: is there room in /run?"
  need_planes "$TMP/old"
  who_leaves "$TMP/old" "$TMP/none"
  # shellcheck disable=SC2086 # a list of names without blanks
  [ $# -eq 1 ] || place "$GROUP_PENDING" printf 'gone %s\n' $changed || :
  reach "$TMP/old" "$TMP/none" "removing $away_what"
  ipt_clear_strays
  [ ! -f "$GROUP_PENDING" ] || rename "$GROUP_PENDING" "$GROUP_COMMIT" || :
  rm -f "$@" || fail 1 "the rules of $away_what are gone, but $* cannot be removed: is /etc writable?"
  # shellcheck disable=SC2086 # a list of names without blanks
  (cd "$SENT" && rm -f $changed)
  rm -f "$GROUP_COMMIT"
  # shellcheck disable=SC2086 # a list of names without blanks
  forget_trials "$owner" $changed
  nft_sweep
  forget_leaving
  leave_ipv6
  uncut "$TMP/old"
}

# bearer FILE: the owner that a stored farm names.
bearer() { awk '/^# owner / { print $3; exit }' "$1"; }

# group_of FILE: the group that a stored farm is in.
group_of() { awk '/^# netfilter-lb rule set/ { exit } /^# group / { print $3; exit }' "$1"; }

command_remove() {
  [ -d "$FARMS" ] || { say "nothing to remove: farm $farm is not here"; return; }
  begin
  stand
  lock "remove $farm"
  outrun "stays"
  state_folders
  known_sets "$FARMS/$farm.rules"
  recover_if_killed
  [ -f "$FARMS/$farm.rules" ] || { forget_trials "$owner" "$farm"; say "nothing to remove: farm $farm is not here"; return; }
  remove_bearer=$(bearer "$FARMS/$farm.rules")
  [ "$remove_bearer" = "$owner" ] || { say "left alone: farm $farm belongs to $remove_bearer"; return; }
  remove_group=$(group_of "$FARMS/$farm.rules")
  [ -z "$remove_group" ] || { say "left alone: farm $farm is in group $remove_group"; return; }
  take_away "farm $farm" "$farm"
  say "removed: farm $farm"
}

command_retire() {
  [ -d "$STATE" ] || { say "nothing to retire: this gateway holds no farms"; uninstall; return; }
  begin
  lock "retire"
  state_folders
  known_sets
  recover_if_killed
  set --
  for retire_file in "$FARMS"/*.rules; do
    [ -f "$retire_file" ] && [ "$(bearer "$retire_file")" = "$owner" ] || continue
    retire_file=${retire_file##*/}
    set -- "$@" "${retire_file%.rules}"
  done
  [ $# -eq 0 ] || take_away "the farms of $owner" "$@"
  for retire_file in "$TRIALS"/*.returned; do
    ! read_trial "$retire_file" || [ "$trial_owner" != "$owner" ] || rm -f "$retire_file"
  done
  rm -f "$(stack_file "$owner")" || fail 1 "cannot remove $(stack_file "$owner"): is /etc writable?"
  repair_every "$owner" ''
  for retire_other in "$STACKS"/* "$FARMS"/*.rules; do
    [ ! -e "$retire_other" ] || { lock_forward; say "retired: $owner; others still use this gateway"; return; }
  done
  sysctls_back
  rm -f "$FORWARD" || fail 1 "cannot remove $FORWARD: is /etc writable?"
  : >"$TMP/want"
  settle "$TMP/want" || fail 1 "cannot take away the shared rules: $(words)"
  remove_unit
  rm -rf "$STATE" || fail 1 "cannot remove $STATE: is /etc writable?"
  say "retired: $owner; the gateway is as it was before"
  uninstall
}

uninstall() { [ -z "$uninstall" ] || rm -f "$SELF"; }

command_restore() {
  [ -d "$STATE" ] || { say "nothing to restore: this gateway holds no farms"; return; }
  begin
  lock "restore"
  state_folders
  known_sets
  expire_trials files
  bring_back
  say "restored: $(grep -c '^# farm ' "$TMP/want") farms"
}

# bring_back: all that is stored, the sure way.
bring_back() {
  recover
  planes_of "$TMP/want"
  need_planes "$TMP/want"
  ipt_clear_strays
  awk '/^# service / { print $3, $4, $5 }' "$TMP/want" >"$TMP/fresh"
  forget_flows "$TMP/fresh"
  settled=1
  # Last: a kernel that starts without IPv6 gets its farms all the same, and no packet is forwarded before its rules.
  [ ! -f "$SYSCTL_OLD" ] || while read -r restore_key _; do forward "$restore_key"; done <"$SYSCTL_OLD"
}

# command_hand_over: the farms stay as they are and get another stamp, so their new stack finds them unchanged, and what the
# old one removes is not its own any more.
command_hand_over() {
  [ -d "$FARMS" ] || { say "nothing to hand over: this gateway holds no farms"; return; }
  begin
  lock "hand-over"
  state_folders
  known_sets
  recover_if_killed
  over_count=0 over_file=$(stack_file "$to")
  [ -f "$over_file" ] || place "$over_file" echo "$to" || fail 1 "cannot write $over_file: is /etc writable, and is there room?"
  for over_file in "$FARMS"/*.rules; do
    [ -f "$over_file" ] && [ "$(bearer "$over_file")" = "$owner" ] || continue
    place "$over_file" sed "1,/^# applied /s|^# owner .*|# owner $to|" "$over_file" ||
      fail 1 "cannot write $over_file, $over_count farms are handed over: is /etc writable? Run this again"
    over_count=$((over_count + 1))
  done
  say "handed over: $over_count farms, from $owner to $to"
}
