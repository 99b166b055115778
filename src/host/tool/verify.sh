# --------------------------------------------------------------------------------------------------------------- verify

# A finding is a line: "- OWNER", object, text, with tabs between; "+" for what is extra. OWNER is a farm, "no farm", or
# "base" for what all farms share.

# compare [FARM]: drift of what is stored, with the reasons why it could not be told.
compare() {
  stored >"$TMP/want" || fail 1 "cannot read the stored farms in $FARMS: is there room in /run?"
  [ -z "${1:-}" ] || awk -v farm="$1" '/^# netfilter-lb: stored/ { held = ""; show = 0 }
    /^# farm / { show = $3 == farm; if (show) printf "%s", held } { if (show) print; else held = held $0 "\n" }' "$TMP/want" >"$TMP/want.1"
  look || fail 1 "$(words), run this again"
  drift "$TMP/want${1:+.1}" "${1:-}"
}

# is_prepared: whether a stack has set this gateway up. Without one there is no unit and no forwarding to miss.
is_prepared() {
  for prepared_file in "$STACKS"/*; do [ ! -f "$prepared_file" ] || return 0; done
  return 1
}

# other_than OBJECT WANTED IS: a finding of what all farms share, unless it is as it should be.
other_than() {
  [ "$2" != "$3" ] || return 0
  [ -z "$2" ] || printf -- '- base\t%s\t%s\n' "$1" "$2"
  [ -z "$3" ] || printf -- '+ base\t%s\t%s\n' "$1" "$3"
}

# machine_drift: findings about the machine: forwarding, now and at the next boot, and the units.
machine_drift() {
  is_prepared || return 0
  awk '{ print $1 } END { if (!NR) print "net.ipv4.ip_forward" }' "$SYSCTL_OLD" 2>/dev/null >"$TMP/keys" ||
    echo net.ipv4.ip_forward >"$TMP/keys"
  while read -r machine_key; do
    other_than "sysctl $machine_key" 1 "$(cat "$(sysctl_path "$machine_key")" 2>/dev/null)"
    machine_line="$machine_key = 1"
    ! boots_locked "$machine_key" || machine_line=''
    other_than "$SYSCTL_FILE" "$machine_line" "$(grep "^$machine_key *=" "$SYSCTL_FILE" 2>/dev/null)"
  done <"$TMP/keys"
  [ -d /etc/systemd ] || return 0
  unit_drift "$UNIT" "$UNIT_LINK" boot_unit
  repair_seconds=$(repair_interval)
  [ -n "$repair_seconds" ] || return 0
  unit_drift "$REPAIR_UNIT" '' repair_unit
  unit_drift "$REPAIR_TIMER" "$REPAIR_LINK" repair_timer "$repair_seconds"
}

# variant_drift: findings about the other variant of iptables.
variant_drift() {
  ipt_strays | while read -r variant_family variant_suffix; do
    other_than "$(ipt "$variant_family")$variant_suffix" '' 'rules of farms, from before this gateway changed its iptables'
  done
}

# unit_drift FILE LINK COMMAND…: a unit that is not what COMMAND prints, or that no target wants any more.
unit_drift() {
  unit_file=$1 unit_link=$2
  shift 2
  if [ ! -f "$unit_file" ]; then
    other_than "unit $unit_file" "the unit" ''
  else
    "$@" >"$TMP/unit"
    diff -U 0 "$TMP/unit" "$unit_file" | sed -n -e '1,2d' -e "s|^\([-+]\)\(.*\)|\1 base	unit $unit_file	\2|p"
  fi
  [ -z "$unit_link" ] || [ -L "$unit_link" ] || other_than "unit $unit_link" "the link that starts it" ''
}

# as_sent [FARM]: writes each stored farm to $TMP/sent/FARM as it came in, and prints FARM, its hash and owner, when, the mark
# of its last repair, and how many lines stand before it in its file.
as_sent() {
  mkdir "$TMP/sent"
  for sent_file in "$FARMS"/${1:-*}.rules; do [ ! -f "$sent_file" ] || echo "$sent_file"; done | awk -v folder="$TMP/sent" '
    { file = $0; farm = $0; sub(/^.*\//, "", farm); sub(/\.rules$/, "", farm)
      out = folder "/" farm; hash = owner = when = repair = "-"; lines = body = 0; short = ""
      printf "" > out
      while ((getline line < file) > 0) {
        if (line ~ /^# netfilter-lb rule set/) body = 1
        if (!body) {
          lines++; split(line, w, " ")
          if (w[2] == "sha256") hash = w[3]
          if (w[2] == "owner") owner = w[3]
          if (w[2] == "applied") when = w[3]
          if (w[2] == "repair") repair = w[3]
          continue
        }
        if (short == "" && line ~ /^# short-name /) { short = substr(line, 14); name = short "\\." substr(hash, 1, 8) }
        else if (line ~ /goto /) gsub("goto " name, "goto " short ".farm", line)
        else if (line ~ /^.chain /) sub("^.chain " name, "\tchain " short ".farm", line)
        print line > out
      }
      close(file); close(out)
      print farm, hash, owner, when, repair, lines }'
}

# stored_drift: findings about the stored files that as_sent has laid out ($TMP/farms): each holds what came in, bears a stack's stamp, and is there.
stored_drift() {
  : >"$TMP/sums"
  [ ! -s "$TMP/farms" ] || (cd "$TMP/sent" && sha256sum -- *) >"$TMP/sums" || fail 1 "cannot read the stored farms: is there room in /run?"
  ! is_prepared || awk '{ print $3 }' "$TMP/farms" | sort -u | while read -r stored_stamp; do
    [ -f "$(stack_file "$stored_stamp")" ] || awk -v stamp="$stored_stamp" '
      $3 == stamp { print "+ " $1 "\tstamp\t# owner " stamp ", which is not set up here" }' "$TMP/farms"
  done
  # What another farm has taken services from holds what is left.
  awk 'NR == FNR { name = $2; sub(/^\*/, "", name); sum[name] = $1; next }
    $2 != "partly-taken-over" && $2 != sum[$1] { print $1, $2, $6 }' "$TMP/sums" "$TMP/farms" |
    while read -r stored_farm stored_hash stored_lines; do
      edited_lines "$stored_farm" "$stored_lines" "$stored_hash" >"$TMP/lines"
      if [ -s "$TMP/lines" ]; then
        cat "$TMP/lines"
      else
        printf -- '- %s\tstored %s\tthe set that was applied (sha256 %s)\n' "$stored_farm" "$FARMS/$stored_farm.rules" "$stored_hash"
      fi
    done
  for stored_copy in "$SENT"/${1:-*}; do
    stored_farm=${stored_copy##*/}
    [ ! -f "$stored_copy" ] || [ -f "$FARMS/$stored_farm.rules" ] ||
      printf -- '- %s\tstored %s\tthe file\n' "$stored_farm" "$FARMS/$stored_farm.rules"
  done
}

# edited_lines FARM LINES HASH: what a hand changed in a stored farm, told by the copy of what came in.
edited_lines() {
  [ -f "$SENT/$1" ] || return 0
  edited_hash=$(sha256sum <"$SENT/$1") && edited_hash=${edited_hash%% *}
  # The copy of another set tells nothing.
  [ "$3" = "$edited_hash" ] || return 0
  edited_short=$(sed -n 's/^# short-name //p' "$SENT/$1")
  named "$edited_short" "$edited_hash" <"$SENT/$1" >"$TMP/named"
  sed "1,$2d" "$FARMS/$1.rules" | diff -U 0 "$TMP/named" - | awk -v farm="$1" -v before="$2" '
    NR < 3 { next }
    /^@@/ { split($3, at, /[+,]/); line = at[2]; next }
    { sign = substr($0, 1, 1); text = substr($0, 2); gsub(/\t/, " ", text) }
    { print sign " " farm "\tstored line " line + before "\t" text; if (sign == "+") line++ }'
}

command_verify() {
  if [ ! -d "$FARMS" ]; then
    [ -z "$json" ] || { echo '{"protocol": '$PROTOCOL', "version": "'$VERSION'", "state": "in step", "reason": null, "farms": [], "findings": [], "notes": []}'; return; }
    [ -z "$farm" ] || fail 7 "farm $farm is not stored here"
    say "in step: no farms"
    return
  fi
  begin
  lock "verify"
  known_sets
  [ -z "$farm" ] || [ -f "$FARMS/$farm.rules" ] || [ -f "$SENT/$farm" ] || fail 7 "farm $farm is not stored here"
  need unshare util-linux
  need sha256sum coreutils
  trial_notes "$farm" >"$TMP/notes"
  [ -n "$json" ] || cat "$TMP/notes"
  : >"$TMP/drift"
  compare "$farm"
  verify_kernel=$? verify_said=''
  [ "$verify_kernel" -lt 2 ] || {
    verify_said=$(words "$TMP/expected.said" 2>/dev/null)
    verify_said="cannot load the stored sets into an empty network namespace: ${verify_said:-is there room in /run?}"
    : >"$TMP/drift"
  }
  as_sent "$farm" >"$TMP/farms" && stored_drift "$farm" >"$TMP/findings" && machine_drift >>"$TMP/findings" && variant_drift >>"$TMP/findings" ||
    fail 1 "cannot look at the stored farms: is there room in /run?"
  if grep -q '	stored ' "$TMP/findings"; then
    verify_remedy="a stored set is not what was applied: apply it again (pulumi up with drift: repair)"
  else
    verify_remedy="this gateway does not hold what is stored (see the lines above): run netfilter-lb restore"
  fi
  cat "$TMP/drift" >>"$TMP/findings" || fail 1 "cannot write to /run: is there room?"
  [ -z "$json" ] || verify_json
  [ -z "$verify_said" ] || fail 6 "$verify_said"
  [ -s "$TMP/findings" ] || { [ -n "$json" ] || say "in step: ${farm:-all farms}"; return; }
  [ -n "$json" ] || { say "drift (- is missing, + is extra):"; tr '\t' ' ' <"$TMP/findings"; }
  fail 7 "$verify_remedy"
}

verify_json() {
  awk -F '\t' -v protocol=$PROTOCOL -v version=$VERSION -v said="$verify_said" -v farms="$TMP/farms" -v notes="$TMP/notes" '
    function quote(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); gsub(/[\001-\037]/, " ", text); return "\"" text "\"" }
    function known(text) { return text == "-" || text == "" ? "null" : quote(text) }
    {
      sign = substr($1, 1, 1); who = substr($1, 3)
      drifted[who] = 1
      list = list (list == "" ? "" : ",") "\n  {\"farm\": " (who == "base" || who == "no farm" ? "null" : quote(who)) ", \"shared\": " (who == "base" ? "true" : "false") \
        ", \"what\": \"" (sign == "-" ? "missing" : "extra") "\", \"object\": " quote($2) ", \"text\": " quote($3) "}"
    }
    END {
      printf "{\"protocol\": %d, \"version\": %s, \"state\": \"%s\", \"reason\": %s,\n \"farms\": [", protocol, quote(version), \
        (said != "" ? "unknown" : (NR ? "drift" : "in step")), known(said)
      while ((getline line < farms) > 0) {
        split(line, w, " ")
        printf "%s\n  {\"name\": %s, \"owner\": %s, \"sha256\": %s, \"applied\": %s, \"repair\": %s, \"state\": \"%s\"}", (count++ ? "," : ""), \
          quote(w[1]), known(w[3]), known(w[2]), known(w[4]), known(w[5]), \
          (w[1] in drifted || "base" in drifted ? "drift" : (said != "" ? "unknown" : "in step"))
      }
      printf "],\n \"findings\": [%s],\n \"notes\": [", list
      for (count = 0; (getline line < notes) > 0; count++) printf "%s\n  %s", (count ? "," : ""), quote(line)
      print "]}"
    }' "$TMP/findings"
}
