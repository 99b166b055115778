# ----------------------------------------------------------------------------------------------------- the stored farms

AWK_NEWER='
function newer(file, line) {
  sub(/^.*\//, "", file); sub(/\.rules$/, "", file); sub(/^# /, "", line)
  return "farm " file " was stored by a newer netfilter-lb (" line "), and this one knows rule set 1: nothing was changed; update pulumi-netfilter-lb (or the preinstalled tool) to the version that stored it"
}
'

# judge FILE FARM OWNER SSH: may this set come in, and what does it touch? Prints facts, one a line. A farm that claims
# what it claimed before, under the same short name, is judged by its own file alone; otherwise one awk reads the headers of all stored farms, since
# a process for each of a thousand would take longer than the change.
judge() {
  awk -v farm="$2" -v owner="$3" -v ssh="$4" "$AWK_SERVICE"'
  '"$AWK_NEWER"'
  function stack(name) { sub(/\/[^\/]*$/, "", name); return name }
  function refuse(why) { print "refuse " why; exit }
  # Which plane a service of a farm lives on, said once.
  function lives(plane, address,    name) {
    name = plane == "nftables" ? "nft" : (address ~ /:/ ? "ip6" : "ip")
    if (!said[name]++) print "plane " name
  }
  # A service of another farm: must not meet ours, unless it is the same one and may be taken over.
  function others(name,    n, i, which, ours) {
    n = split(at[$3], which, " ")
    for (i = 1; i <= n; i++) {
      ours = service[which[i]]
      if (!services_meet(name, ours)) continue
      if (stack(bearer) != stack(owner))
        refuse("farm " stored " of " bearer " already claims the service " name ", which overlaps " ours " of farm " farm ": change the address or the port")
      if (name != ours)
        refuse("service " ours " of farm " farm " overlaps " name " of farm " stored " in part, and only a whole service can be taken over: apply farm " stored " without it first")
      had[name] = 1
      lives(other_plane, $3)
      if (!taken[stored]++) print "taken " stored
    }
  }
  function read_stored(file) {
    stored = bearer = mark = group = ""
    # Behind the services of a header may stand thousands of backends.
    while ((getline < file) > 0 && /^#/ && $2 !~ /^(mark-mask|on-removal|backend)$/) {
      if ($2 == "owner") bearer = $3
      else if ($2 == "serial") serial = $3
      else if ($2 == "sha256") hash = $3
      else if ($2 == "repair") mark = $3
      else if ($2 == "group") group = $3
      else if ($2 == "netfilter-lb" && $3 == "rule" && $5 != 1) refuse(newer(file, $0))
      else if ($2 == "farm") {
        stored = $3
        if (serial + 0 > last) last = serial + 0
        if (stored != farm) continue
        if (self++) break
        if (stack(bearer) != stack(owner))
          refuse("farm " farm " on this gateway belongs to " bearer ", not to " owner ": give this one another name, or hand it over there (netfilter-lb help, hand-over)")
        print "owner " bearer "\nsha " hash "\nrepair " mark "\ngroup " group
      }
      else if ($2 == "short-name" && stored == farm) had_short = $3
      else if ($2 == "short-name" && $3 == short)
        refuse("farm " farm " has the same short name " short " as farm " stored " of " bearer ": give this one another name")
      else if ($2 == "data-plane") { other_plane = $3; if (stored == farm && $3 != plane) print "gone plane" }
      else if ($2 == "service") {
        if (stored == farm) { had[$3 " " $4 " " $5] = 1; lives(other_plane, $3) }
        else if ($3 in at) others($3 " " $4 " " $5)
      }
    }
    close(file)
  }
  function differs(a, b,    name, n) { for (name in a) if (!(name in b)) n++; return n + 0 }
  BEGIN {
    while ((getline < ARGV[1]) > 0 && /^#/ && $2 != "backend") {
      if ($2 == "short-name") short = $3
      if ($2 == "data-plane") plane = $3
      if ($2 == "service") {
        lives(plane, $3)
        if ($3 ~ /:/) print "ipv6"
        service[++count] = $3 " " $4 " " $5; mine[service[count]] = 1; at[$3] = at[$3] " " count
      }
    }
    print "short " short
    if (split(ssh, peer, " ") == 4) {
      sub(/%.*/, "", peer[3])
      for (i = 1; i <= count; i++) if (services_meet(service[i], peer[3] " tcp " peer[4]))
        refuse("farm " farm " would catch this very SSH connection (service " service[i] " and sshd at " peer[3] " port " peer[4] "): give the farm another address or port")
    }
    read_stored(ARGV[2])
    if (!self || had_short != short || differs(mine, had)) { for (i = 3; i < ARGC; i++) read_stored(ARGV[i]); last++ }
    print "serial " last
    for (name in mine) if (!(name in had)) print "fresh " name
    for (name in had) if (!(name in mine)) print "gone " name
  }' "$1" "$FARMS/$2.rules" "$FARMS"/*.rules
}

# known_sets [FILE…]: what a newer tool stored may mean what this one does not know.
known_sets() {
  [ $# -gt 0 ] || set -- "$FARMS"/*.rules
  [ -f "$1" ] || return 0
  known_newer=$(awk "$AWK_NEWER"'BEGIN {
    for (i = 1; i < ARGC; i++) {
      while ((getline line < ARGV[i]) > 0 && line ~ /^#/ && line !~ /^# netfilter-lb rule set /) continue
      if (line ~ /^# netfilter-lb rule set / && line !~ /^# netfilter-lb rule set 1$/) { print newer(ARGV[i], line); exit }
      close(ARGV[i])
    }
  }' "$@") || fail 1 "cannot read the stored farms in $FARMS"
  [ -z "$known_newer" ] || fail 6 "$known_newer"
}

# survive [FOLDER] FILE…: prints the stored farms as one text; where two claim one service, the newer (by serial) has
# it, and a farm without any service is left out. Into FOLDER goes every farm that lost something, as it is to be stored
# from now on: empty when nothing is left of it.
survive() {
  survive_folder=$1; shift
  awk -v folder="$survive_folder" "$AWK_SERVICE"'
  BEGIN {
    for (i = 1; i < ARGC; i++) {
      while ((getline line < ARGV[i]) > 0 && line ~ /^#/) {
        split(line, w, " ")
        if (w[2] == "backend") break
        if (w[2] == "serial") serial[ARGV[i]] = w[3]
        if (w[2] == "farm") farm[ARGV[i]] = w[3]
        if (w[2] == "service") {
          name = w[3] " " w[4] " " w[5]
          had[ARGV[i]]++
          if (name in best && best[name] != ARGV[i]) {
            loser = serial[best[name]] + 0 > serial[ARGV[i]] + 0 ? ARGV[i] : best[name]
            lost[loser]++
            if (loser == ARGV[i]) continue
          }
          best[name] = ARGV[i]
        }
      }
      close(ARGV[i])
    }
  }
  function mine(name) { return !(name in best) || best[name] == FILENAME }
  FNR == 1 {
    out = folder != "" && lost[FILENAME] ? folder "/" farm[FILENAME] : ""
    if (out != "") printf "" > out
    gone = lost[FILENAME] && lost[FILENAME] == had[FILENAME]
  }
  gone { next }
  lost[FILENAME] && /^# sha256 / { $0 = "# sha256 partly-taken-over" }
  lost[FILENAME] && /^# service / && !mine($3 " " $4 " " $5) { next }
  lost[FILENAME] && /^add element / { parse_element(); if (!mine(element_service($5, key))) next }
  lost[FILENAME] && /^-A NFLB-[A-Z]+ / && !mine(rule_service()) { next }
  { print; if (out != "") print > out }' "$@"
}

# stored [BUT…]: the stored farms as one text, without those named.
stored() {
  stored_but=" $* "
  set --
  for stored_file in "$FARMS"/*.rules; do
    stored_name=${stored_file##*/}
    case $stored_but in *" ${stored_name%.rules} "*) continue ;; esac
    [ ! -f "$stored_file" ] || set -- "$@" "$stored_file"
  done
  [ $# -eq 0 ] || survive "" "$@"
}
