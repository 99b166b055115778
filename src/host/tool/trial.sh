# ------------------------------------------------------------------------------------------------------ sets on trial

# A set on trial is in force and stored like any other. Beside it stands what to go back to, and when: counted on the
# clock of /proc/uptime, which nobody sets, and for this boot alone.
#
#   trials/FARM.trial     the trial; then the stored files from before it, the farm's own (where it had one) and those
#                         of farms that lost services to it
#   trials/FARM.returned  the return; then the stored file that was not confirmed
#
# Whoever comes first after the end goes back: the watcher, any command that changes something, systemd's timer, the
# boot. The farm's own file is written last: until then it is on trial, and the next run goes the whole way once more.

# shout: for whoever is connected, and for syslog.
shout() {
  warn "$*"
  to_syslog "$*"
}

# read_clock: seconds since the boot, and which boot. (A sysctl gives no more than its first byte to read.)
read_clock() {
  read -r clock_now _ </proc/uptime && clock_boot=$(cat /proc/sys/kernel/random/boot_id) || return 1
  clock_now=${clock_now%%.*}
} 2>/dev/null

# read_trial FILE: the head of a trial or a return.
read_trial() {
  [ -f "$1" ] || return 1
  trial_owner='' trial_hashes='' trial_seconds='' trial_until='' trial_boot='' trial_ssh='' trial_at='' trial_told=''
  while read -r _ trial_word trial_value; do
    case $trial_word in
      owner) trial_owner=$trial_value ;;
      sha256) trial_hashes=$trial_value ;;
      seconds) trial_seconds=$trial_value ;;
      until) trial_until=$trial_value ;;
      boot) trial_boot=$trial_value ;;
      ssh) trial_ssh=$trial_value ;;
      at) trial_at=$trial_value ;;
      told) trial_told=1 ;;
      netfilter-lb:) case $trial_value in stored*) break ;; esac ;;
    esac
  done <"$1"
  case $trial_until in '' | *[!0-9]*) trial_until=0 ;; esac
} 2>/dev/null

# trial_left: the seconds that the trial just read has left; 0 when it is over, or nobody can say.
trial_left() {
  trial_rest=0
  if read_clock && [ "$trial_boot" = "$clock_boot" ] && [ "$clock_now" -lt "$trial_until" ]; then
    trial_rest=$((trial_until - clock_now))
  fi
}

# hash_of FILE: of the set in a stored file.
hash_of() { [ ! -f "$1" ] || sed -n -e 's/^# sha256 //p' -e '/^# netfilter-lb rule set/q' "$1"; }

# sent_set FILE HASH: the set of this hash in a stored file as it came in.
sent_set() { sed '1,/^# applied /d' "$1" | unnamed "$(sed -n -e 's/^# short-name //p' -e '/^# service /q' "$1")" "$2"; }

serial_of() { sed -n -e 's/^# serial //p' -e '/^# netfilter-lb rule set/q' "$1"; }

# on_trial FARM: is what is stored of it a set on trial? Otherwise the trial's apply failed or was killed, or somebody
# else changed the farm since.
on_trial() {
  read_trial "$TRIALS/$1.trial" || return 1
  trial_stored=$(hash_of "$FARMS/$1.rules")
  case " $trial_hashes " in *" ${trial_stored:-none} "*) ;; *) return 1 ;; esac
}

# split_trial FILE FOLDER: the stored files that it holds, by the names of their farms.
split_trial() {
  awk -v folder="$2" '
    /^# netfilter-lb: stored/ { if (out != "") close(out); out = ""; held = ""; begun = 1 }
    !begun { next }
    out != "" { print > out; next }
    { held = held $0 "\n" }
    /^# farm / { out = folder "/" $3; printf "%s", held > out }' "$1"
}

# left_over FARM FILE: is what is stored of it just what remained of FILE when another farm took services over?
left_over() {
  [ -f "$FARMS/$1.rules" ] || return 0
  [ "$(hash_of "$FARMS/$1.rules")" = partly-taken-over ] && [ "$(serial_of "$FARMS/$1.rules")" = "$(serial_of "$2")" ]
}

# keep FARM: its stored file as it was before any trial goes into $TMP/before.
keep() {
  for keep_trial in "$TRIALS"/*.trial; do
    grep -qsx "# farm $1" "$keep_trial" || continue
    rm -rf "$TMP/others" && mkdir "$TMP/others" && split_trial "$keep_trial" "$TMP/others" || return 1
    ! left_over "$1" "$TMP/others/$1" || { cp "$TMP/others/$1" "$TMP/before/$1"; return; }
  done
  [ ! -f "$FARMS/$1.rules" ] || cp "$FARMS/$1.rules" "$TMP/before/$1"
}

trial_text() {
  printf '# netfilter-lb: a set of farm %s that is on trial, and what to go back to\n' "$farm"
  printf '# owner %s\n# sha256 %s\n# seconds %s\n' "$owner" "$start_hashes" "$confirm"
  printf '# until %s\n# boot %s\n# ssh %s\n' "$((clock_now + confirm))" "$clock_boot" "$(printf %s "$ssh" | tr '\n' ' ')"
  for trial_file in "$TMP/before"/*; do [ ! -f "$trial_file" ] || cat "$trial_file"; done
}

# start_trial: keeps what is stored now, before anything is touched. A set that comes in while another is on trial has
# what was there before that one to go back to.
start_trial() {
  need setsid util-linux
  [ ! -L "$TRIALS" ] || fail 1 "$TRIALS is a symbolic link: remove it and run this again"
  [ -d "$TRIALS" ] || mkdir "$TRIALS" || fail 1 "cannot make $TRIALS: is /etc writable?"
  mkdir "$TMP/before" || fail 1 "cannot make $TMP/before: is /run writable?"
  start_hashes=$sha256
  if on_trial "$farm"; then
    start_hashes="$sha256 $trial_stored"
    split_trial "$TRIALS/$farm.trial" "$TMP/before"
  else
    keep "$farm"
  fi || fail 1 "cannot read what is stored of farm $farm, nothing was changed: is there room in /run?"
  for start_farm in $taken; do
    [ -f "$TMP/before/$start_farm" ] || keep "$start_farm" || fail 1 "cannot read farm $start_farm, nothing was changed"
  done
  place_trial || fail 1 "cannot write $TRIALS/$farm.trial, nothing was changed: is /etc writable, and is there room?"
  # An apply that fails takes its trial with it.
  trap 'on_trial "$farm" || end_trial "$farm"; rm -rf "$TMP"' EXIT
  # In a session of its own and with nothing of ours open, so that the caller's connection can end.
  setsid sh "$0" watch "$farm" </dev/null >/dev/null 2>&1 9>&- &
}

# place_trial: its time begins now. Again when the set is in force, so that a slow apply takes nothing from it.
place_trial() {
  read_clock || fail 6 "cannot read /proc/uptime and the boot's id, by which a trial is timed: apply without --confirm"
  place "$TRIALS/$farm.trial" trial_text || return 1
  [ -d /run/systemd/system ] && command -v systemd-run >/dev/null 2>&1 || return 0
  # For a session whose processes are all ended with it. It may fail: there is the watcher.
  stop_timer "$farm"
  systemd-run --quiet --collect --unit="netfilter-lb-trial-$farm" --on-active="$confirm" \
    --timer-property=AccuracySec=1s "$SELF" expire </dev/null >/dev/null 2>&1 9>&- || :
}

stop_timer() { systemctl stop "netfilter-lb-trial-$1.timer" </dev/null >/dev/null 2>&1 9>&- || :; }

# settle_trial: the set is in force, and the farm's earlier ones are history.
settle_trial() {
  if [ -z "$confirm" ]; then end_trial "$farm"; else ! on_trial "$farm" || place_trial || :; fi
  [ ! -d "$TRIALS" ] || rm -f "$TRIALS/$farm.returned"
}

# end_trial FARM: whatever is stored of it stays. The watcher sees it and ends.
end_trial() {
  [ -f "$TRIALS/$1.trial" ] || return 0
  rm -f "$TRIALS/$1.trial" || fail 1 "cannot remove $TRIALS/$1.trial: is /etc writable? Until it is, the trial goes on"
  [ ! -d /run/systemd/system ] || stop_timer "$1"
}

# expire_trials [files]: goes back where a trial is over. "files": the kernel is brought to them afterwards.
expire_trials() {
  [ -d "$TRIALS" ] || return 0
  rm -f "$TRIALS"/.*.new
  for expire_file in "$TRIALS"/*.trial; do
    [ -f "$expire_file" ] || continue
    expire_farm=${expire_file##*/}
    expire_farm=${expire_farm%.trial}
    # What cannot be removed harms nobody: a boot with a read-only /etc goes on.
    on_trial "$expire_farm" || { (end_trial "$expire_farm"); continue; }
    trial_left
    [ "$trial_rest" = 0 ] || continue
    # On its own: a set that cannot go back must not keep others from coming in.
    if expire_words=$(go_back "$expire_farm" "${1:-}" 2>&1); then
      end_trial "$expire_farm"
      shout "farm $expire_farm was not confirmed within $trial_seconds s: the gateway went back to the set before"
    else
      : >"$TMP/words"
      expire_failed=1
      shout "ATTENTION: farm $expire_farm was not confirmed within $trial_seconds s, and its set stays, because going back" \
        "failed (${expire_words:-"is /etc writable, and is there room?"}); mend the cause and run: netfilter-lb expire"
    fi
  done
}

returned_text() {
  printf '# netfilter-lb: a set of farm %s that was not confirmed\n' "$back_farm"
  printf '# owner %s\n# sha256 %s\n# seconds %s\n# at %s\n' "$trial_owner" "$trial_stored" "$trial_seconds" "$now"
  cat "$FARMS/$back_farm.rules"
}

# go_back FARM [files]: to what the trial just read keeps. Runs in a shell of its own.
go_back() {
  back_farm=$1 back_how=$2
  rm -rf "$TMP/back" "$TMP/back.lost"
  mkdir "$TMP/back" "$TMP/back.lost" && split_trial "$TRIALS/$1.trial" "$TMP/back" || return 1
  # A farm that lost services, and was changed since, stays as it is.
  changed=$1
  for back_file in "$TMP/back"/*; do
    [ -f "$back_file" ] && [ "$back_file" != "$TMP/back/$1" ] || continue
    if left_over "${back_file##*/}" "$back_file"; then changed="$changed ${back_file##*/}"; else rm -f "$back_file"; fi
  done
  back_contested || return 1
  : >"$TMP/back.old"
  : >"$TMP/back.new"
  for back_name in $changed; do
    [ ! -f "$FARMS/$back_name.rules" ] || cat "$FARMS/$back_name.rules" >>"$TMP/back.old"
    [ ! -f "$TMP/back/$back_name" ] || cat "$TMP/back/$back_name" >>"$TMP/back.new"
  done
  place "$TRIALS/$back_farm.returned" returned_text || return 1
  [ -n "$back_how" ] || back_kernel
  back_files || { [ -n "$back_how" ] || put_back "storing farm $back_farm" "cannot write in $FARMS"; return 1; }
  end_trial "$back_farm"
  rm -f "$FARMS/$back_farm.pending"
  [ -n "$back_how" ] || { nft_sweep; forget_clients; forget_flows "$TMP/fresh"; forget_leaving; leave_ipv6; }
}

# back_contested: another farm may have claimed a service meanwhile: it keeps it, being newer. If that one is on trial
# too, its return gives the service back.
back_contested() {
  set --
  for back_file in "$FARMS"/*.rules; do
    back_name=${back_file##*/}
    case " $changed " in *" ${back_name%.rules} "*) ;; *) [ ! -f "$back_file" ] || set -- "$@" "$back_file" ;; esac
  done
  for back_file in "$TMP/back"/*; do [ ! -f "$back_file" ] || set -- "$@" "$back_file"; done
  [ $# -eq 0 ] || survive "$TMP/back.lost" "$@" >/dev/null || return 1
  for back_file in "$TMP/back.lost"/*; do
    back_name=${back_file##*/}
    [ -f "$TMP/back/$back_name" ] || continue
    for back_trial in "$TRIALS"/*.trial; do
      [ "$back_trial" = "$TRIALS/$back_farm.trial" ] || grep -qx "# farm $back_name" "$back_trial" ||
        place "$back_trial" cat "$back_trial" "$TMP/back/$back_name" || return 1
    done
    mv "$back_file" "$TMP/back/$back_name"
  done
}

# back_kernel: the way of every change.
back_kernel() {
  cat "$TMP/back.new" "$TMP/back.old" >"$TMP/back.both" && planes_of "$TMP/back.both" || exit 1
  need_planes "$TMP/back.both"
  who_leaves "$TMP/back.old" "$TMP/back.new"
  awk '/^# service / { if (role == "old") had[$3, $4, $5] = 1; else if (!(($3, $4, $5) in had)) print $3, $4, $5 }' \
    role=old "$TMP/back.old" role=new "$TMP/back.new" >"$TMP/fresh"
  place "$FARMS/$back_farm.pending" cat "$TMP/back.new" || exit 1
  look_forward=1
  reach "$TMP/back.old" "$TMP/back.new" "the return of farm $back_farm"
}

# back_files: the farm's own last. Where one cannot be written, .pending stays, so that the next run puts the others right.
back_files() {
  for back_name in $changed; do
    [ "$back_name" = "$back_farm" ] || back_store "$back_name" || return 1
  done
  back_store "$back_farm"
}

# back_store FARM: its file as it was; none where it had none, or all its services belong to others by now.
back_store() {
  rm -f "$SENT/$1"
  [ -s "$TMP/back/$1" ] || { rm -f "$FARMS/$1.rules"; return; }
  place "$FARMS/$1.rules" cat "$TMP/back/$1" || return 1
  # The copy of what came in goes back too, where the file still says it: "verify" has use for it, and nobody else.
  back_hash=$(hash_of "$TMP/back/$1")
  sent_set "$TMP/back/$1" "$back_hash" >"$TMP/back.sent" && [ "$(sha256sum <"$TMP/back.sent")" = "$back_hash  -" ] &&
    place "$SENT/$1" cat "$TMP/back.sent" || :
}

# forget_trials OWNER FARM…: the farms are removed, so nobody goes back to them.
forget_trials() {
  forget_owner=$1
  shift
  for forget_farm; do
    end_trial "$forget_farm"
    ! read_trial "$TRIALS/$forget_farm.returned" || [ "$trial_owner" != "$forget_owner" ] || rm -f "$TRIALS/$forget_farm.returned"
    for forget_trial in "$TRIALS"/*.trial; do
      grep -qsx "# farm $forget_farm" "$forget_trial" || continue
      rm -rf "$TMP/others" && mkdir "$TMP/others" && split_trial "$forget_trial" "$TMP/others" || continue
      [ "$(bearer "$TMP/others/$forget_farm")" = "$forget_owner" ] || continue
      { sed '/^# netfilter-lb: stored/,$d' "$forget_trial"; rm "$TMP/others/$forget_farm"; cat "$TMP/others"/* 2>/dev/null; } >"$TMP/kept"
      place "$forget_trial" cat "$TMP/kept" || fail 1 "cannot write $forget_trial: is /etc writable?"
    done
  done
}

# trial_notes [FARM]: what there is to say of trials and returns, a line each.
trial_notes() {
  for note_file in "$TRIALS"/${1:-*}.trial; do
    note_farm=${note_file##*/}
    note_farm=${note_farm%.trial}
    on_trial "$note_farm" || continue
    trial_left
    if [ "$trial_rest" = 0 ]; then
      echo "farm $note_farm was not confirmed within $trial_seconds s: netfilter-lb expire brings the set before back"
    else
      echo "farm $note_farm is on trial: in $trial_rest s the gateway goes back to the set before, unless it is confirmed"
    fi
  done
  for note_file in "$TRIALS"/${1:-*}.returned; do
    read_trial "$note_file" || continue
    note_farm=${note_file##*/}
    echo "a set of farm ${note_farm%.returned} was not confirmed within $trial_seconds s: the gateway went back at $trial_at"
  done
}

# trial_facts: FARM SECONDS-LEFT, for status --json.
trial_facts() {
  for fact_file in "$TRIALS"/*.trial; do
    fact_farm=${fact_file##*/}
    ! on_trial "${fact_farm%.trial}" || { trial_left; printf '%s\t%s\n' "${fact_farm%.trial}" "$trial_rest"; }
  done
}

command_confirm() {
  begin
  lock "confirm $farm"
  state_folders
  recover_if_killed
  confirm_stored=$(hash_of "$FARMS/$farm.rules")
  confirm_owner=$owner
  [ -z "$confirm_stored" ] || confirm_owner=$(bearer "$FARMS/$farm.rules")
  [ "$confirm_owner" = "$owner" ] || fail 3 "farm $farm on this gateway belongs to $confirm_owner, not to $owner"
  [ "$confirm_stored" != "$sha256" ] || { confirm_stays; return; }
  read_trial "$TRIALS/$farm.returned" && [ "$trial_hashes" = "$sha256" ] && [ "$trial_owner" = "$owner" ] ||
    fail 3 "the set of farm $farm with the SHA-256 $sha256 is not here to be confirmed: ${confirm_stored:+"the gateway holds $confirm_stored, "}so" \
      "somebody changed it since; look at netfilter-lb status, and bring yours in with pulumi up --replace URN of the Command $farm-${owner##*/}"
  if [ -z "$trial_told" ]; then confirm_tell; else confirm_again; fi
}

confirm_stays() {
  if on_trial "$farm"; then
    # What an old connection carries proves nothing about new ones: connection tracking keeps it alive.
    [ -z "$ssh" ] || [ "$trial_ssh" != "$ssh" ] ||
      fail 3 "the set of farm $farm came over this very SSH connection: open a new one and confirm it there"
    end_trial "$farm"
    leave_ipv6
    say "confirmed: farm $farm"
  else
    say "confirmed already: farm $farm is on no trial"
  fi
  rm -f "$TRIALS/$farm.returned"
}

# confirm_tell: the first who asks is told. It may be the one that waited for a connection all along, shut out by this
# very set: what it asks for must not come in again.
confirm_tell() {
  sed '1a\
# told' "$TRIALS/$farm.returned" >"$TMP/told" && place "$TRIALS/$farm.returned" cat "$TMP/told" ||
    fail 1 "cannot write $TRIALS/$farm.returned: is /etc writable?"
  fail 8 "the new set of farm $farm was not confirmed within $trial_seconds s, so at $trial_at this gateway went back to the" \
    "set before. If the new set shuts SSH out, change the farm; if the connection failed for another reason, run pulumi up" \
    "again: it brings the set in once more, on trial"
}

confirm_again() {
  : "${confirm:=$trial_seconds}"
  again_file=$TRIALS/$farm.returned
  sent_set "$again_file" "$sha256" >"$TMP/set"
  again_hash=$(sha256sum <"$TMP/set")
  [ "${again_hash%% *}" = "$sha256" ] || fail 1 "$again_file is damaged: remove it, and change the farm"
  apply_set
  fail 8 "the set of farm $farm that was not confirmed before is in force again, on trial for $confirm s: run pulumi up once" \
    "more within that time to confirm it, else this gateway goes back to the set before"
}

# command_watch: what apply leaves behind. It sees every trial of the farm out, until there is none.
command_watch() {
  while read_trial "$TRIALS/$farm.trial"; do
    trial_left
    if [ "$trial_rest" != 0 ]; then sleep 1; continue; fi
    (command_expire)
    # What could not go back is tried again.
    [ ! -f "$TRIALS/$farm.trial" ] || sleep 5
  done
}

command_expire() {
  [ -d "$TRIALS" ] || { say "no farm is on trial"; return; }
  begin
  lock "expire"
  state_folders
  recover_if_killed
  [ -z "${expire_failed:-}" ] || exit 1
  say "no trial is overdue"
}
