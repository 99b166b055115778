# -------------------------------------------------------------------------------------------------------------- changes

# change OLD NEW: the fast way. $planes names the plane of NEW first, and it is changed first, so that a farm that moves
# from one plane to the other is served throughout.
change() {
  case $planes in
    *nft*ip*) nft_change "$1" "$2" && ipt_change "$1" "$2" ;;
    *ip*nft*) ipt_change "$1" "$2" && nft_change "$1" "$2" ;;
    *nft*) nft_change "$1" "$2" && { [ -z "$look_forward" ] || ipt_change "$1" "$2"; } ;;
    *) ipt_change "$1" "$2" ;;
  esac
}

# settle_with NEW: the sure way to NEW in place of the stored farms in $changed.
settle_with() {
  # shellcheck disable=SC2086 # a list of names without blanks
  { stored $changed && cat "$1"; } >"$TMP/want" && settle "$TMP/want"
}

# reach OLD NEW WHAT: the fast way, else the sure way, else back to what is stored, and say so.
reach() {
  touched=''
  change "$1" "$2" && return
  # Who cannot get at the tables cannot go back either, and need not where nothing was touched.
  [ -z "$touched" ] && grep -q 'xtables lock' "$TMP/words" || {
    cp "$TMP/words" "$TMP/words.first"
    : >"$TMP/words"
    settle_with "$2" && return
    # What kept the sure way from even beginning is not the cause.
    [ -s "$TMP/words" ] && ! grep -q 'could not be listed' "$TMP/words" || cat "$TMP/words.first" >>"$TMP/words"
  }
  reach_words=$(words_or_room)
  [ -z "$touched" ] || put_back "$3" "$reach_words"
  drop_pending
  case $reach_words in
    *"xtables lock"*) fail 5 "$3 failed: another program holds the xtables lock; the last good set stays in force, run this again" ;;
    # nft and iptables say "not supported" of an address of the other family, too.
    *"Address family for hostname"*) ;;
    *"unrecognized option"* | *"nknown option"* | *"Bad argument"*)
      fail 6 "$3 failed, the last good set stays in force: $reach_words; iptables is too old here, install version 1.6.2 or a newer one" ;;
    *"syntax error"*)
      fail 6 "$3 failed, the last good set stays in force: $reach_words; this nft cannot read it, install version 1.0.6 or a newer one" ;;
    *"not supported"* | *"missing kernel module"* | *"Couldn't load "* | *"can't initialize"* | *"insmod"* | *"No such file or directory"* | \
      *"No chain/target/match"* | *"Cannot open session to kernel"*)
      fail 6 "$3 failed, the last good set stays in force; this gateway's kernel or tools lack something: $reach_words; load the kernel module or install a newer package" ;;
  esac
  fail 1 "$3 failed, the last good set stays in force; the kernel said: $reach_words; change what this names and run this again"
}

# put_back WHAT WHY: to what is stored.
put_back() {
  : >"$TMP/words"
  stored >"$TMP/want" && settle "$TMP/want" ||
    fail 1 "ATTENTION: $1 failed ($2) and going back failed too ($(words_or_room)): this gateway's farms are in an" \
      "unknown state; mend the cause and run: netfilter-lb restore"
}

drop_pending() {
  rm -f "$FARMS"/*.pending "$FARMS"/.*.new
  [ -f "$GROUP_COMMIT" ] || rm -rf "$NEXT"
}

# recover: an earlier run was killed between its first and its last step. Go back to what is stored, where a service
# that two files claim belongs to the newer.
recover() {
  store_group || warn "the farms of a group that came in cannot be stored yet: is /etc writable?"
  mkdir -p "$TMP/lost"
  set -- "$FARMS"/*.rules
  [ -f "$1" ] || set -- /dev/null
  survive "$TMP/lost" "$@" >"$TMP/want" && need_sets "$TMP/want" && settle "$TMP/want" ||
    fail 1 "cannot put back the stored farms after an apply that was killed: $(words_or_room)"
  store_lost
  drop_pending
}

recover_if_killed() {
  # Cut short before it was complete.
  [ ! -d "$NEXT" ] || [ -f "$GROUP_COMMIT" ] || rm -rf "$NEXT"
  for recover_file in "$FARMS"/.*.new "$FARMS"/*.pending "$GROUP_COMMIT"; do
    [ -e "$recover_file" ] || [ -L "$recover_file" ] || continue
    # Cut short before it had its name: the kernel was not touched yet.
    case $recover_file in *.new) rm -f "$recover_file" ;; *) recover; break ;; esac
  done
  expire_trials
}

# store_lost: farms that lost services to another are stored without them.
store_lost() {
  for lost_file in "$TMP"/lost/*; do
    [ -f "$lost_file" ] || continue
    if [ -s "$lost_file" ]; then
      place "$FARMS/${lost_file##*/}.rules" cat "$lost_file" || fail 1 "cannot write $FARMS/${lost_file##*/}.rules"
    else
      rm -f "$FARMS/${lost_file##*/}.rules"
    fi
    rm -f "$SENT/${lost_file##*/}"
  done
  rm -rf "$TMP/lost"
}
