# ----------------------------------------------------------------------------------------------------- sets of iptables

# sets_plan OLD NEW: what leads from the sets of one text to those of the other, before the first restore ($TMP/sets.before)
# and behind the last ($TMP/sets.after, and the names in $TMP/sets.gone). Rules that are asked hold on to their sets, so one
# with other entries is filled on the side and swapped. One that learns (it has a time-out) is left alone, unless its line
# changes: then it takes its entries along ($TMP/sets.along: from, to, how many fit).
sets_plan() {
  awk -v dir="$TMP" '
  /^create NFLB-/ { if (role == "old") old[$2] = $0; else { new[$2] = $0; order[++sets] = $2 } next }
  /^add NFLB-/ { if (role == "old") { had[$2, $3] = 1; had_count[$2]++ } else entry[$2, ++count[$2]] = $3; next }
  function fill(name, as,    i) {
    print "create " as substr(new[name], length("create " name) + 1) > before
    for (i = 1; i <= count[name]; i++) print "add " as " " entry[name, i] > before
  }
  function same(name,    i) {
    if (old[name] != new[name] || had_count[name] != count[name]) return 0
    for (i = 1; i <= count[name]; i++) if (!((name, entry[name, i]) in had)) return 0
    return 1
  }
  # Sets can be swapped that differ in nothing but size and time-out.
  function kind(line,    w) { split(line, w, " "); return w[3] " " w[5] }
  END {
    before = dir "/sets.before"; after = dir "/sets.after"; gone = dir "/sets.gone"; along = dir "/sets.along"
    printf "" > before; printf "" > after; printf "" > gone; printf "" > along
    # Left by an apply that was killed.
    for (name in old) if (name ~ /^NFLB-\./) print "destroy " name > before
    for (i = 1; i <= sets; i++) {
      name = order[i]
      if (name in old && same(name)) continue
      if (name in old && kind(old[name]) != kind(new[name])) { print "destroy " name > before; delete old[name] }
      if (!(name in old)) { fill(name, name); continue }
      aside = "NFLB-." ++asides
      fill(name, aside)
      if (old[name] ~ / timeout / && new[name] ~ / timeout /) { split(new[name], w, " "); print name, aside, w[7] > along }
      print "swap " aside " " name "\ndestroy " aside > after
    }
    for (name in old) if (!(name in new) && name !~ /^NFLB-\./) print name > gone
  }' role=old "$1" role=new "$2"
}

sets_before() {
  [ ! -s "$TMP/sets.before" ] || { touched=1; ipset restore <"$TMP/sets.before" >/dev/null 2>>"$TMP/words"; }
}

# sets_after: a restore by nftables lets go of its sets a little later, hence the patience. One that another program uses stays.
sets_after() {
  while read -r sets_from sets_to sets_size; do
    ipset save "$sets_from" | sed -n "s/^add $sets_from /add $sets_to /p" | head -n "$sets_size" | ipset -exist restore 2>/dev/null || :
  done <"$TMP/sets.along"
  if [ -s "$TMP/sets.after" ]; then ipset restore <"$TMP/sets.after" >/dev/null 2>>"$TMP/words" || return 1; fi
  sets_tries=50
  while read -r sets_name; do
    until sets_words=$(ipset destroy "$sets_name" 2>&1); do
      case $sets_words in *"does not exist"*) break ;; esac
      [ "$sets_tries" -gt 0 ] || { warn "the set $sets_name stays: $sets_words"; break; }
      sets_tries=$((sets_tries - 1))
      sleep 0.1 2>/dev/null || sleep 1
    done
  done <"$TMP/sets.gone"
}
