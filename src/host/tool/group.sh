# ------------------------------------------------------------------------------------------------------ groups of farms

# A group is the farms that one caller brings in together: their rule sets, one after the other. Each farm is stored on its
# own like any other, with a line "# group NAME". Those that differ from what is stored change with one change, as if they
# were one farm:
#
#   next/FARM.rules           what is to be stored, complete before the kernel is touched
#   farms/0-group.pending     not in force yet: the next run throws next/ away and goes back to what is stored
#   farms/0-group.commit      in force: the next run goes on storing. Lines "kept FARM", and "gone FARM" for what is stored no more

command_apply_group() {
  begin
  stand_group >"$TMP/stood"
  take_payload "the text of group $farm"
  split_group
  lock "apply-group $farm"
  outrun_group "is not applied"
  state_folders
  recover_if_killed
  judge_group
  check_group
  if [ -s "$TMP/changed" ] || [ -s "$TMP/leaves" ]; then change_group; else mend_group; fi
}

# stand_group: as stand, of every stored farm: FARM SHA256 BEGUN OWNER GROUP, and whether the stack is set up here.
stand_group() {
  [ ! -f "$(stack_file "$owner")" ] || echo "- stack"
  awk 'BEGIN {
    for (i = 1; i < ARGC; i++) {
      group = "-"
      while ((getline < ARGV[i]) > 0 && /^#/) {
        if ($2 == "owner") owner = $3
        else if ($2 == "sha256") hash = $3
        else if ($2 == "applied") begun = $3
        else if ($2 == "group") group = $3
        else if ($2 == "farm") { print $3, hash, begun, owner, group; break }
      }
      close(ARGV[i])
    }
  }' "$FARMS"/*.rules
}

# outrun_group WHAT: as outrun, for each farm of the group, as it comes or as it is stored.
outrun_group() {
  stand_group >"$TMP/stands"
  ! grep -qx -- '- stack' "$TMP/stood" || grep -qx -- '- stack' "$TMP/stands" ||
    fail 3 "$owner was retired from this gateway while this run waited, so group $farm $1; run pulumi up again if it shall be there"
  outrun_words=$(awk -v group="$farm" -v now="$now" '
    role == "comes" { comes[$2] = $1; next }
    role == "stood" { stood[$1] = $2; next }
    $1 == "-" || !($1 in comes) && $5 != group || $2 == stood[$1] || $2 == comes[$1] || $2 == "partly-taken-over" { next }
    { text = "another run of " $4 " changed farm " $1 " (sha256 " $2 ", begun at " $3 ") while this one (begun at " now ") waited" }
    ($3 "") > (now "") { refused = text; exit }
    { noted = text }
    END { if (refused != "") print "refused " refused; else if (noted != "") print "noted " noted }' role=comes "$TMP/sums" role=stood "$TMP/stood" role=stands "$TMP/stands") || fail 1 "cannot read the stored farms in $FARMS"
  case $outrun_words in
    refused*) fail 3 "${outrun_words#refused }, so group $farm $1; run this again if yours shall count" ;;
    noted*) say "note: ${outrun_words#noted }" ;;
  esac
}

# split_group: the sets as $TMP/sets/FARM, and their hashes as $TMP/sums.
split_group() {
  check_bytes "$TMP/set" && mkdir "$TMP/sets" || fail 1 "cannot read the text of group $farm, nothing was changed: is there room in /run?"
  [ ! -s "$TMP/odd" ] || fail 4 "the text of group $farm is damaged: $ODD_BYTES"
  split_fault=$(awk -v folder="$TMP/sets" '
    function bad(why) { print "line " NR " " why; exit }
    /^# netfilter-lb rule set / { if (out != "") close(out); out = ""; head = $0; next }
    head != "" {
      if ($1 != "#" || $2 != "farm" || NF != 3) bad("should be \"# farm …\"")
      if ($3 !~ /^[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*$/ || length($3) > 63) bad("names no farm")
      if (seen[$3]++) bad("begins farm " $3 " once more")
      out = folder "/" $3; print head > out; head = ""
    }
    out == "" { bad("is of no farm") }
    { print > out }
    END { if (head != "") print "it ends too early" }' "$TMP/set") && split_failed='' || split_failed=1
  [ -z "$split_fault" ] || fail 4 "the text of group $farm is damaged: $split_fault"
  [ -z "$split_failed" ] && (cd "$TMP/sets" && sha256sum -- *) >"$TMP/sums" ||
    fail 1 "cannot keep the sets of group $farm, nothing was changed: is there room in /run, and memory?"
}

# judge_group: as judge, of all farms of the group, by one awk that reads the headers of what comes and of what is stored. The
# farms go, a line each, to $TMP/changed and $TMP/stamped (the same set; owner or group is another): FARM SHA256 SERIAL; to
# $TMP/leaves and $TMP/taken (others that lose services): FARM; to $TMP/had those of them that are stored.
judge_group() {
  look_forward='' leaving='' planes='' ipv6=''
  for group_list in changed stamped leaves taken had fresh; do : >"$TMP/$group_list" || fail 1 "cannot write to /run: is there room?"; done
  awk -v group="$farm" -v owner="$owner" -v ssh="$ssh" -v dir="$TMP" "$AWK_SERVICE"'
  '"$AWK_NEWER"'
  function stack(name) { sub(/\/[^\/]*$/, "", name); return name }
  function refuse(why) { if (!refused) print "refuse " why; refused = 1; exit }
  function lives(plane, address,    name) {
    name = plane == "nftables" ? "nft" : (address ~ /:/ ? "ip6" : "ip")
    if (!said[name]++) print "plane " name
  }
  # A service of one port is looked up, since farms of many ports of one address would all be compared with each other; the others stand in a list.
  function is_narrow(port) { return port ~ /^[0-9]+$/ }
  # What of the group meets this service, as SERVICE; "" for nothing.
  function met(name, address, port,    n, i, list) {
    if (name in farm_of) return name
    n = split(wide[address], list, ",")
    for (i = 2; i <= n; i++) if (services_meet(name, list[i])) return list[i]
    if (is_narrow(port)) return ""
    n = split(narrow[address], list, ",")
    for (i = 2; i <= n; i++) if (services_meet(name, list[i])) return list[i]
    return ""
  }
  function others(name, address, port,    ours) {
    ours = met(name, address, port)
    if (ours == "") return
    if (stack(bearer) != stack(owner))
      refuse("farm " stored " of " bearer " already claims the service " name ", which overlaps " ours " of farm " farm_of[ours] ": change the address or the port")
    if (name != ours)
      refuse("service " ours " of farm " farm_of[ours] " overlaps " name " of farm " stored " in part, and only a whole service can be taken over: apply farm " stored " without it first")
    had[name] = 1
    lives(other_plane, address)
    if (!taken[stored]++) { print stored > (dir "/taken"); print stored > (dir "/had") }
  }
  function read_new(name, file,    line, w, service, other) {
    while ((getline line < file) > 0 && line ~ /^#/) {
      split(line, w, " ")
      if (w[2] == "backend") break
      if (w[2] == "short-name") {
        if (w[3] in by_short) refuse("farm " name " has the same short name " w[3] " as farm " by_short[w[3]] " of the same group: give one of them another name")
        by_short[w[3]] = name; short[name] = w[3]
      }
      if (w[2] == "data-plane") {
        if (plane != "" && w[3] != plane) refuse("farm " name " is of " w[3] " and others of group " group " of " plane ": the farms of a group have one data plane")
        plane = w[3]
      }
      if (w[2] == "service") {
        service = w[3] " " w[4] " " w[5]
        other = met(service, w[3], w[5])
        if (other != "" && farm_of[other] != name)
          refuse("farm " name " claims " service ", which overlaps " other " of farm " farm_of[other] " of the same group: change the address or the port")
        if (ssh_service != "" && services_meet(service, ssh_service))
          refuse("farm " name " would catch this very SSH connection (service " service " and sshd at " peer[3] " port " peer[4] "): give the farm another address or port")
        farm_of[service] = name
        if (is_narrow(w[5])) narrow[w[3]] = narrow[w[3]] "," service
        else wide[w[3]] = wide[w[3]] "," service
        services[name] = services[name] "," service
        if (w[3] ~ /:/) ipv6 = 1
      }
    }
    close(file)
  }
  function read_stored(file,    line, w, here, service) {
    stored = bearer = in_group = other_plane = other_short = old_services = hash = ""
    serial = 0
    while ((getline line < file) > 0 && line ~ /^#/) {
      split(line, w, " ")
      if (w[2] ~ /^(mark-mask|on-removal|backend)$/) break
      if (w[2] == "owner") bearer = w[3]
      else if (w[2] == "group") in_group = w[3]
      else if (w[2] == "serial") { serial = w[3] + 0; if (serial > last) last = serial }
      else if (w[2] == "sha256") hash = w[3]
      else if (w[2] == "netfilter-lb" && w[3] == "rule" && w[5] != 1) refuse(newer(file, line))
      else if (w[2] == "farm") {
        stored = w[3]
        here = stored in sum
        if (here && stack(bearer) != stack(owner))
          refuse("farm " stored " on this gateway belongs to " bearer ", not to " owner ": give this one another name, or hand it over there (netfilter-lb help, hand-over)")
        leaves = !here && in_group == group && stack(bearer) == stack(owner)
        if (leaves) { print stored > (dir "/leaves"); print stored > (dir "/had") }
      }
      else if (w[2] == "short-name") {
        other_short = w[3]
        if (!here && !leaves && w[3] in by_short)
          refuse("farm " by_short[w[3]] " has the same short name " w[3] " as farm " stored " of " bearer ": give this one another name")
      }
      else if (w[2] == "data-plane") other_plane = w[3]
      else if (w[2] == "service") {
        service = w[3] " " w[4] " " w[5]
        if (here || leaves) old_services = old_services "," service
        else others(service, w[3], w[5])
        if (leaves) { had[service] = 1; lives(other_plane, w[3]) }
      }
    }
    close(file)
    if (!here) return
    known[stored] = 1
    if (hash == sum[stored]) {
      if (bearer != owner || in_group != group) stamp[stored] = serial
      return
    }
    print stored > (dir "/had")
    differs[stored] = 1
    # Who claims what it claimed is not newer than those who claim something else.
    if (old_services == services[stored] && other_short == short[stored]) kept_serial[stored] = serial
    if (other_plane != plane) print "gone plane"
    n = split(old_services, list, ",")
    for (k = 2; k <= n; k++) { had[list[k]] = 1; split(list[k], w, " "); lives(other_plane, w[1]) }
  }
  BEGIN {
    if (split(ssh, peer, " ") == 4) { sub(/%.*/, "", peer[3]); ssh_service = peer[3] " tcp " peer[4] }
    while ((getline line < ARGV[1]) > 0) { split(line, w, " "); order[++farms] = w[2]; sum[w[2]] = w[1] }
    for (i = 1; i <= farms; i++) read_new(order[i], dir "/sets/" order[i])
    # What comes is changed first, so that a farm that moves from one plane to the other is served throughout.
    for (name in farm_of) { split(name, w, " "); lives(plane, w[1]) }
    if (ipv6) print "ipv6"
    for (i = 2; i < ARGC; i++) read_stored(ARGV[i])
    last++
    for (i = 1; i <= farms; i++) {
      name = order[i]
      if (name in stamp) { print name, sum[name], stamp[name] > (dir "/stamped"); continue }
      if ((name in known) && !(name in differs)) continue
      print name, sum[name], (name in kept_serial ? kept_serial[name] : last) > (dir "/changed")
      n = split(services[name], list, ",")
      for (k = 2; k <= n; k++) { mine[list[k]] = 1; if (!(list[k] in had)) print list[k] > (dir "/fresh") }
    }
    for (name in mine) if (!(name in had)) { print "fresh"; break }
    for (name in had) if (!(name in mine)) { print "gone"; break }
  }' "$TMP/sums" "$FARMS"/*.rules >"$TMP/facts" || fail 1 "cannot read the stored farms in $FARMS, nothing was changed: is there room in /run?"
  while read -r fact value; do
    case $fact in
      refuse) fail 3 "$value" ;;
      plane) planes="$planes $value" ;;
      ipv6) ipv6=1 ;;
      gone) look_forward=1 leaving=1 ;;
      fresh) look_forward=1 ;;
    esac
  done <"$TMP/facts"
  [ ! -s "$TMP/taken" ] || leaving=1
  sort -u -o "$TMP/had" "$TMP/had"
  changed=$(sort -u "$TMP/leaves" "$TMP/taken" | cat - "$TMP/changed" | cut -d ' ' -f 1 | tr '\n' ' ')
  for group_trial in "$TRIALS"/*.trial; do
    group_name=${group_trial##*/}
    group_name=${group_name%.trial}
    case " $changed" in *" $group_name "*) ;; *) grep -q "^$group_name " "$TMP/stamped" || continue ;; esac
    ! on_trial "$group_name" || fail 3 "farm $group_name is on trial, and group $farm changes it: run this again when that is over"
  done
}

# check_group: the fence, for what is not stored already.
check_group() {
  [ -s "$TMP/changed" ] || return 0
  # shellcheck disable=SC2046 # names without blanks
  group_fault=$(cd "$TMP/sets" && check_lines '' $(cut -d ' ' -f 1 "$TMP/changed")) ||
    fail 1 "the sets of group $farm cannot be checked, nothing was changed: is there room in /run, and memory?"
  [ -z "$group_fault" ] || fail 4 "the rule set of farm ${group_fault%%: *} is damaged: ${group_fault#*: }"
}

# NAMED_GROUP: awk that reads the sets of a group as they are stored: as named, for many at a time.
NAMED_GROUP='
function read_set(file, hash) { set_file = file; set_hash = substr(hash, 1, 8); short = "" }
# The next line of the set, as set_line; 0 behind the last.
function next_line() {
  if ((getline set_line < set_file) <= 0) { close(set_file); return 0 }
  if (short == "" && set_line ~ /^# short-name /) short = substr(set_line, 14)
  if (short != "" && index(set_line, short ".farm")) {
    gsub("goto " short "\\.farm", "goto " short "." set_hash, set_line)
    if (set_line ~ "^.chain " short "\\.farm") sub(short "\\.farm", short "." set_hash, set_line)
  }
  return 1
}
'

# entries LIST: the farms of a list (FARM SHA256 SERIAL) as they are to be stored, in next/. By way of /run, since not every awk
# minds a full disk.
entries() {
  [ -s "$1" ] || return 0
  rm -rf "$TMP/entries" && mkdir "$TMP/entries" || return 1
  awk -v stored_by="$STORED_BY" -v owner="$owner" -v group="$farm" -v now="$now" -v sets="$TMP/sets" -v entries="$TMP/entries" "$NAMED_GROUP"'{
    out = entries "/" $1 ".rules"
    print stored_by "\n# owner " owner "\n# sha256 " $2 "\n# serial " $3 "\n# group " group "\n# applied " now > out
    read_set(sets "/" $1, $2)
    while (next_line()) print set_line > out
    close(out)
  }' "$1" && (cd "$TMP/entries" && cp -- *.rules "$NEXT/")
}

# next_folder: an empty one.
next_folder() {
  rm -rf "$NEXT" && mkdir "$NEXT" || fail 1 "cannot make $NEXT, nothing was changed: is /etc writable, and is there room?"
}

group_note() {
  for group_file in "$NEXT"/*.rules; do group_file=${group_file##*/}; [ ! -f "$NEXT/$group_file" ] || echo "kept ${group_file%.rules}"; done
  cat "$TMP/leaves" "$TMP/emptied" | sed 's/^/gone /'
}

# prepare_group: everything that is to be stored is written before anything is touched.
prepare_group() {
  for group_file in "$FARMS"/*.rules; do
    [ ! -d "$group_file" ] || fail 1 "$group_file is a folder: move it away"
  done
  { sync -f "$NEXT" || sync; } 2>/dev/null
  place "$GROUP_PENDING" group_note ||
    fail 1 "cannot write $GROUP_PENDING, nothing was changed: is /etc writable, and is there room?"
}

# store_group: what is in force becomes what is stored. It may be done again and again, until the note goes.
store_group() {
  [ -f "$GROUP_COMMIT" ] || return 0
  # shellcheck disable=SC2046 # names without blanks
  (cd "$SENT" && rm -f $(sed 's/^[a-z]* //' "$GROUP_COMMIT"))
  set -- "$NEXT"/*.rules
  [ ! -f "$1" ] || (cd "$NEXT" && mv -f -- *.rules "$FARMS/") || return 1
  # shellcheck disable=SC2046 # names without blanks
  (cd "$FARMS" && rm -f $(sed -n 's/^gone \(.*\)/\1.rules/p' "$GROUP_COMMIT")) && rm -f "$GROUP_COMMIT" && rm -rf "$NEXT"
}

# change_group: $TMP/changed, $TMP/leaves and $TMP/taken come into force as one.
change_group() {
  : >"$TMP/emptied"
  need_room
  next_folder
  entries "$TMP/changed" && (cd "$NEXT" && cat -- *.rules) >"$TMP/new" 2>/dev/null || [ ! -s "$TMP/changed" ] ||
    fail 1 "cannot write to $NEXT, nothing was changed: is there room in /etc?"
  # shellcheck disable=SC2046 # names without blanks
  (cd "$FARMS" && cat /dev/null $(sed 's/$/.rules/' "$TMP/had")) >"$TMP/old" ||
    fail 1 "cannot read the stored farms of group $farm, nothing was changed: is there room in /run?"
  [ ! -s "$TMP/taken" ] || lose_services
  entries "$TMP/stamped" || fail 1 "cannot write to $NEXT, nothing was changed: is there room in /etc?"
  make_ready "$TMP/old" "$TMP/new"
  prepare_group
  who_leaves "$TMP/old" "$TMP/new"
  reach "$TMP/old" "$TMP/new" "applying group $farm"
  commit_group || {
    put_back "storing group $farm" "cannot rename $GROUP_PENDING"
    drop_pending
    fail 1 "cannot rename $GROUP_PENDING, the last good sets are in force again: is /etc writable?"
  }
  wind_up "applied: group $farm, $(grep -c . "$TMP/changed") of $(grep -c . "$TMP/sums") farms$(went)" "$TMP/set"
}

went() { [ ! -s "$TMP/leaves" ] || echo ", $(grep -c . "$TMP/leaves") removed"; }

# lose_services: those that other farms of the stack lose to the group go in the same swap.
lose_services() {
  mkdir "$TMP/lost"
  set --
  while read -r group_name; do set -- "$@" "$FARMS/$group_name.rules"; done <"$TMP/taken"
  survive "$TMP/lost" "$@" "$NEXT"/*.rules >"$TMP/new" ||
    fail 1 "cannot read the farms whose services group $farm takes over, nothing was changed: is there room in /run?"
  for group_file in "$TMP/lost"/*; do
    if [ -s "$group_file" ]; then cp "$group_file" "$NEXT/${group_file##*/}.rules"; else echo "${group_file##*/}" >>"$TMP/emptied"; fi ||
      fail 1 "cannot write to $NEXT, nothing was changed: is there room in /etc?"
  done
}

# commit_group: from here on the group is what it became, whatever happens. The copies of what came in are for "verify" alone.
commit_group() {
  rename "$GROUP_PENDING" "$GROUP_COMMIT" || return 1
  store_group || fail 1 "ATTENTION: group $farm is in force, but cannot be stored: is /etc writable? The next command tries again"
  # shellcheck disable=SC2046 # names without blanks
  (cd "$TMP/sets" && cut -d ' ' -f 1 "$TMP/changed" "$TMP/stamped" | sort -u >"$TMP/sent" && { [ ! -s "$TMP/sent" ] || mv -f $(cat "$TMP/sent") "$SENT/"; }) 2>/dev/null || :
}

# mend_group: nothing comes that is not stored. Then stamps, stored sets and the kernel are put right.
mend_group() {
  : >"$TMP/emptied"
  need_room
  edited_sets >>"$TMP/stamped" || fail 1 "cannot read the stored farms of group $farm: is there room in /run?"
  if [ -s "$TMP/stamped" ]; then
    next_folder
    entries "$TMP/stamped" || fail 1 "cannot write to $NEXT, nothing was changed: is there room in /etc?"
    prepare_group
    commit_group || fail 1 "cannot rename $GROUP_PENDING: is /etc writable?"
  fi
  touched=''
  stored >"$TMP/want" && settle "$TMP/want" || fail 1 "cannot bring what is stored into force: $(words_or_room)"
  if [ -n "$touched" ]; then say "applied: group $farm, as it was stored"; else say "unchanged: group $farm"; fi
}

# edited_sets: farms of the group whose stored set is not what came in, because a hand edited it: FARM SHA256 SERIAL.
edited_sets() {
  awk -v sets="$TMP/sets" -v farms="$FARMS" "$NAMED_GROUP"'{
    stored = farms "/" $2 ".rules"; serial = differs = 0
    while ((getline line < stored) > 0 && line !~ /^# applied /) if (line ~ /^# serial /) serial = substr(line, 10)
    read_set(sets "/" $2, $1)
    while (next_line()) if ((getline there < stored) <= 0 || there != set_line) differs = 1
    if ((getline there < stored) > 0) differs = 1
    close(stored)
    if (differs) print $2, $1, serial
  }' "$TMP/sums"
}

command_remove_group() {
  [ -d "$FARMS" ] || { say "nothing to remove: group $farm is not here"; return; }
  begin
  : >"$TMP/sums"
  stand_group >"$TMP/stood"
  lock "remove-group $farm"
  outrun_group "stays"
  state_folders
  known_sets
  recover_if_killed
  group_farms=$(awk -v group="$farm" -v owner="$owner" 'BEGIN {
    for (i = 1; i < ARGC; i++) {
      bearer = in_group = ""
      while ((getline < ARGV[i]) > 0 && /^#/) {
        if ($2 == "owner") bearer = $3
        else if ($2 == "group") in_group = $3
        else if ($2 == "farm") { if (bearer == owner && in_group == group) print $3; break }
      }
      close(ARGV[i])
    }
  }' "$FARMS"/*.rules) || fail 1 "cannot read the stored farms in $FARMS"
  [ -n "$group_farms" ] || { say "nothing to remove: group $farm has no farm here"; return; }
  # shellcheck disable=SC2086 # a list of names without blanks
  take_away "group $farm" $group_farms
  say "removed: group $farm"
}
