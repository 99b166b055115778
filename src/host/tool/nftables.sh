# ------------------------------------------------------------------------------------------------------------- nftables

# nft_maps FAMILY FILE…: the shared maps and sets that a family needs: those that a text has elements for, or has itself.
nft_maps() {
  nft_family=$1; shift
  awk -v family="$nft_family" '
    /^# data-plane / { of = "" }
    /^table / { of = $2 }
    /^add element / { if ($3 == family) need[$5] = 1 }
    /^\t(map|set) [a-z_]+ \{/ { if (of == family) need[$2] = 1 }
    END { for (name in need) print name }' "$@" | sort
}

# nft_base FAMILY: the table that all farms share, with the maps and sets that standard input names, and no look-up more: each
# costs every new connection. Objects and hooks come first, then the rules of the hooks from scratch, so that the text may
# be run on a table that is there in part.
nft_base() {
  awk -v family="$1" '
  function place(name) { return name ~ /guarded/ ? "guard" : (name ~ /source/ ? "source" : "translate") }
  function by_address(name) { return name ~ /addresses$/ }
  function by_interface(name) { return name ~ /^interface_/ }
  function declared(name,    type) {
    type = family == "ip" ? "ipv4_addr" : "ipv6_addr"
    if (by_interface(name)) type = "ifname . " type
    if (!by_address(name)) type = type " . inet_proto . inet_service"
    return (place(name) == "guard" ? "set " name " { type " type : "map " name " { type " type " : verdict") \
      ";" (name ~ /ranges$/ ? " flags interval;" : "") " }"
  }
  function asked(name) {
    if (place(name) == "source")
      return "ct status dnat " (by_address(name) ? "ct original " family " daddr" : \
        "meta l4proto { tcp, udp, sctp } ct original " family " daddr . meta l4proto . ct original proto-dst") " vmap @" name
    return (by_interface(name) ? "iifname . " : "") family " daddr" (by_address(name) ? "" : " . meta l4proto . th dport") \
      (place(name) == "guard" ? " @" name " drop" : " vmap @" name)
  }
  function chain(name, hook, where, local,    i, text) {
    for (i = 1; i <= names; i++)
      if (($i in need) && place($i) == where && !(local && by_interface($i))) text = text "\t\t" asked($i) "\n"
    if (text == "") return
    hooks = hooks "\tchain " name " { type " hook "; policy accept; }\n"
    flushes = flushes "flush chain " family " netfilter_lb " name "\n"
    rules = rules "\tchain " name " {\n" (where == "guard" ? "\t\tct status dnat accept\n" : "") text "\t}\n"
  }
  { need[$1] = 1 }
  END {
    # Exact ones first: they are what most connections are for.
    $0 = "services ranges addresses interface_services interface_ranges interface_addresses" \
      " guarded guarded_ranges guarded_addresses interface_guarded interface_guarded_ranges interface_guarded_addresses" \
      " sources source_ranges source_addresses"
    names = NF
    print "table " family " netfilter_lb {"
    for (i = 1; i <= names; i++) if ($i in need) print "\t" declared($i)
    chain("translate", "nat hook prerouting priority -100", "translate")
    chain("output", "nat hook output priority -100", "translate", 1)
    chain("guard", "filter hook prerouting priority -90", "guard")
    chain("output_guard", "filter hook output priority -90", "guard", 1)
    chain("source", "nat hook postrouting priority 100", "source")
    printf "%s}\n%s", hooks, flushes
    if (rules != "") printf "table %s netfilter_lb {\n%s}\n", family, rules
  }'
}

# nft_lock FAMILY: only what DNAT translated is forwarded, both ways, ICMP errors about it included. The data connection that a
# backend opens (active ftp) keeps its destination; expected it is, and its source is translated.
nft_lock() {
  cat <<EOF
add table $1 netfilter_lb
add chain $1 netfilter_lb forward { type filter hook forward priority -150; policy accept; }
flush chain $1 netfilter_lb forward
add rule $1 netfilter_lb forward ct status dnat accept
add rule $1 netfilter_lb forward ct status expected ct status snat accept
add rule $1 netfilter_lb forward drop
EOF
}

# A farm's own map, set or helper, in a table of a rule set or of the kernel's text: how commands name it, "map ip
# netfilter_lb web.affinity.source.65536". The objects of the shared table have no dot.
AWK_OBJECT='
function object_of(family,    name) {
  name = $1 == "ct" ? $3 : $2
  return name ~ /\./ ? ($1 == "ct" ? "ct helper" : $1) " " family " netfilter_lb " name : ""
}
'

# nft_plan OLD NEW: writes the transactions that lead from one text to the other, as $TMP/nft.1 to nft.5, and
# $TMP/families, the families that NEW and the locks need. A chain's name holds the hash of its content, so a chain that OLD has too
# is left alone: flushing a live chain would let packets through. The steps must be commits of their own: in one, the
# kernel shows packets the gap between two generations.
#   1 the new objects, chains and guards; 2 elements that come; 3 elements that are replaced; 4 elements that leave; 5 the
#   old chains, objects and guards. A service that moves from one map to another ("80" becomes "every port") is in both between 2 and
#   4, because the kernel commits sets one after the other and a packet asks the maps one after the other. Where no
#   address both gains and loses elements, 3 does it all, so that a change is in force as a whole or not at all.
nft_plan() {
  awk -v dir="$TMP" -v locked="$(locked_families nftables)" "$AWK_SERVICE$AWK_OBJECT"'
  # An id is FAMILY, MAP and KEY; a key may begin with an interface of any name.
  function map(id,    p) { split(id, p, SUBSEP); return p[2] }
  function prefix(id) { sub(/[^ ]+$/, "", id); return id }
  function port(id) { sub(/^.* /, "", id); return id }
  function address(id,    p, part) {
    split(id, p, SUBSEP)
    split(p[3], part, / \. /)
    return p[1] " " (p[2] ~ /^interface_/ ? part[2] : part[1])
  }
  # Ranges of one map that overlap cannot stand side by side: the one can only come when the other goes.
  function meets(id, others,    n, i, list) {
    if (map(id) !~ /ranges/ || !(prefix(id) in others)) return 0
    n = split(others[prefix(id)], list, " ")
    for (i = 1; i <= n; i++) if (ports_meet(list[i], port(id))) return 1
    return 0
  }
  function element(verb, id, value,    p) {
    split(id, p, SUBSEP)
    return verb " element " p[1] " netfilter_lb " p[2] " { " p[3] (value == "" ? "" : " : " value) " }"
  }
  /^# data-plane / { plane = $3; in_chain = 0; next }
  plane != "nftables" { next }
  /^table / { family = $2; if (role == "new") families[family] = 1; next }
  /^\tchain / {
    in_chain = 0
    if ($2 !~ /\./) next
    id = family " netfilter_lb " $2
    if (role == "old") { old_chain[id] = 1; next }
    new_chain[id] = 1
    if (id in old_chain) next
    # Not as a table block: for that nft first fetches all rules and elements of the table, which here takes longest.
    head[++heads] = id; in_chain = 1
    body[++lines] = "add chain " id " {"; next
  }
  in_chain { body[++lines] = $0; if ($0 == "\t}") in_chain = 0; next }
  # With tabs: a rule may begin with "ct helper" too.
  /^\t(map|set|ct helper) / {
    if ((id = object_of(family)) == "") next
    text = substr($0, index($0, "{"))
    if (role == "old") { old_object[id] = text; next }
    # nft knows no object that the same run does not add, unless it fetches everything; what is there already stays as it is.
    new_object[id] = 1; objects[++objects_count] = "add " id " " text
    next
  }
  /^add element / {
    parse_element()
    id = $3 SUBSEP $5 SUBSEP key
    if (role == "old") old[id] = verdict; else { new[id] = verdict; families[$3] = 1 }
  }
  END {
    build = dir "/nft.1"; come = dir "/nft.2"; swap = dir "/nft.3"; leave = dir "/nft.4"; clear = dir "/nft.5"
    printf "" > build; printf "" > come; printf "" > swap; printf "" > leave; printf "" > clear
    printf "" > (dir "/families")
    n = split(locked, list, " ")
    for (i = 1; i <= n; i++) families[list[i]] = 1
    for (family in families) print family > (dir "/families")
    for (id in new_object) if (!(id in old_object)) objects_come = 1
    for (i = 1; i <= objects_count && (heads || objects_come); i++) print objects[i] > build
    for (i = 1; i <= heads; i++) print "add chain " head[i] "\nflush chain " head[i] > build
    for (i = 1; i <= lines; i++) print body[i] > build
    for (id in old) if (map(id) ~ /ranges/ && !(id in new)) leaving[prefix(id)] = leaving[prefix(id)] " " port(id)
    for (id in new) if (map(id) ~ /ranges/ && !(id in old)) coming[prefix(id)] = coming[prefix(id)] " " port(id)
    for (id in old) if (!(id in new)) goes[address(id)] = 1
    for (id in new) if (!(id in old)) comes[address(id)] = 1
    for (id in old) if (map(id) !~ /guarded/ && !(id in new && new[id] == old[id]))
      print element("delete", id) > (id in new || meets(id, coming) || !comes[address(id)] ? swap : leave)
    for (id in new) if (map(id) !~ /guarded/ && !(id in old && new[id] == old[id])) {
      print element("add", id, new[id]) > (id in old || meets(id, leaving) || !goes[address(id)] ? swap : come)
      # The read-back, free of charge: adding what is there succeeds, and another value in its place is refused.
      print element("add", id, new[id]) > clear
    }
    for (id in old_chain) if (!(id in new_chain)) print "add chain " id "\nflush chain " id > clear
    for (id in old_chain) if (!(id in new_chain)) print "delete chain " id > clear
    for (id in old_object) if (!(id in new_object)) print "add " id " " old_object[id] "\ndelete " id > clear
    for (id in old) if (map(id) ~ /guarded/ && !(id in new)) print element("delete", id) > clear
    # Until a guard can come, the translation keeps its packets away.
    for (id in new) if (map(id) ~ /guarded/ && !(id in old)) print element("add", id) > (meets(id, leaving) ? clear : build)
  }' role=old "$1" role=new "$2"
}

# nft_run FILE…: one transaction of them all; what nft says is kept for the message.
nft_run() {
  cat "$@" >"$TMP/nft.run" || return 1
  [ ! -s "$TMP/nft.run" ] || { touched=1; nft -f "$TMP/nft.run" >/dev/null 2>>"$TMP/words"; }
}

# nft_steps: what nft_plan wrote, one commit after the other.
nft_steps() {
  for nft_step in 1 2 3 4 5; do
    [ -s "$TMP/nft.$nft_step" ] || continue
    touched=1
    nft -f "$TMP/nft.$nft_step" >/dev/null 2>>"$TMP/words" || return 1
  done
}

nft_change() { nft_plan "$1" "$2" && nft_steps; }

# nft_twin NAMES WANT: WANT with the named chains under another name (hash 00000000), and the named objects. A live chain
# that somebody edited is repaired by moving to its twin and back, because it may not be refilled under the packets' feet.
nft_twin() {
  awk '
  NR == FNR { twin[$1] = 1; next }
  function renamed(name) {
    if (!(name in twin)) return name
    return substr(name, 1, index(name, ".")) "00000000" substr(name, index(name, ".") + (name ~ /^[^.]+\.[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f](\.|$)/ ? 9 : 0))
  }
  /^\t(chain|map|set|ct helper) / || /(goto|jump) / || /@/ || /helper set / {
    text = ""
    while (match($0, /(chain |map |set |helper |goto |jump |@|set ")[A-Za-z0-9_-]+\.[A-Za-z0-9._-]+/)) {
      name = substr($0, RSTART, RLENGTH); sub(/^.*[ @"]/, "", name)
      text = text substr($0, 1, RSTART + RLENGTH - 1 - length(name)) renamed(name)
      $0 = substr($0, RSTART + RLENGTH)
    }
    $0 = text $0
  }
  { print }' "$1" "$2"
}

# nft_settle WANT: makes the tables hold WANT and nothing else, whatever they hold now ($TMP/kernel, $TMP/drift).
nft_settle() {
  : >"$TMP/base"
  nft_plan "$TMP/kernel" "$1" || return 1
  awk '/^table / { family = $2 } /^\tchain forward \{/ { print family }' "$TMP/kernel" >"$TMP/locks"
  while read -r nft_family; do
    nft_maps "$nft_family" "$TMP/kernel" >"$TMP/maps.live"
    nft_maps "$nft_family" "$TMP/kernel" "$1" >"$TMP/maps"
    # A lock that stands is not touched: a chain that is filled again lets packets through. (Drift is not always known.)
    if ! locked "$nft_family" nftables; then
      ! grep -qx "$nft_family" "$TMP/locks" ||
        printf '%s chain %s netfilter_lb forward\n' flush "$nft_family" delete "$nft_family" >>"$TMP/base"
    elif ! grep -qx "$nft_family" "$TMP/locks" || grep -q "^[-+] base	$nft_family chain forward	" "$TMP/drift"; then
      nft_lock "$nft_family" >>"$TMP/base"
    fi
    if ! cmp -s "$TMP/maps.live" "$TMP/maps" ||
      grep "^[-+] base	$nft_family " "$TMP/drift" | grep -qv "	$nft_family chain forward	"; then
      nft_base "$nft_family" <"$TMP/maps" >>"$TMP/base"
    fi
  done <"$TMP/families"
  # A chain or an object that is wanted and there, with the wrong content. (One that is not wanted at all just goes.) With a
  # chain go those of the same hash, with an object all chains of its farm: they lead to each other, or to it.
  : >"$TMP/twins"
  if grep -q '^[-+].*	ip6* \(chain\|map\|set\|ct\) .*\.' "$TMP/drift" && grep -q '^add element' "$TMP/kernel"; then
    awk 'function part(name,    w) { split(name, w, "."); return w[1] "." w[2] }
      function farm(name) { return substr(name, 1, index(name, ".") - 1) }
      role == "drift" && /^[-+].*\tip6? chain .*\./ { split($0, w, "\t"); sub(/.* /, "", w[2]); chain[part(w[2])] = 1 }
      role == "drift" && /^[-+].*\tip6? (map|set|ct helper) .*\./ { split($0, w, "\t"); sign[w[2], substr($0, 1, 1)] = 1
        if (((w[2], "-") in sign) && ((w[2], "+") in sign)) { sub(/.* /, "", w[2]); print w[2]; object[farm(w[2])] = 1 } }
      role == "drift" || !/^\tchain / { next }
      role == "kernel" { live[$2] = 1; next }
      $2 in live && (part($2) in chain || farm($2) in object) { print $2 }' \
      role=drift "$TMP/drift" role=kernel "$TMP/kernel" role=want "$1" | sort -u >"$TMP/twins"
  fi
  if [ -s "$TMP/twins" ]; then
    nft_twin "$TMP/twins" "$1" >"$TMP/twin"
    nft_plan "$TMP/kernel" "$TMP/twin" && nft_run "$TMP/base" && nft_steps && nft_plan "$TMP/twin" "$1" || return 1
    : >"$TMP/base"
  fi
  if grep -q '^add element' "$TMP/kernel"; then
    nft_run "$TMP/base" && nft_steps || return 1
  else
    # Nothing is served yet: one transaction brings everything.
    nft_run "$TMP/base" "$TMP/nft.1" "$TMP/nft.2" "$TMP/nft.3" "$TMP/nft.4" "$TMP/nft.5" || return 1
  fi
  for nft_family in ip ip6; do
    grep -qx $nft_family "$TMP/families" || ! grep -q "^table $nft_family netfilter_lb {" "$TMP/kernel" ||
      nft delete table $nft_family netfilter_lb >/dev/null 2>>"$TMP/words" || return 1
  done
}

# nft_sweep: a table that no stored farm needs any more costs every packet a look: away with it, but for its lock. Where the farms
# cannot be read, for lack of memory or room, it stays.
nft_sweep() {
  command -v nft >/dev/null 2>&1 || return 0
  stored >"$TMP/swept" &&
    awk '/^table ip6? netfilter_lb / { print $2 }' "$TMP/swept" >"$TMP/families" || return 0
  for nft_family in ip ip6; do
    ! grep -qx $nft_family "$TMP/families" || continue
    if ! locked $nft_family nftables; then nft delete table $nft_family netfilter_lb >/dev/null 2>&1 || :; continue; fi
    nft -t list table $nft_family netfilter_lb 2>/dev/null | awk -v table="$nft_family netfilter_lb" '
      /^\tchain / && $2 != "forward" { print "flush chain " table " " $2; gone = gone "delete chain " table " " $2 "\n" }
      /^\t(map|set) / { objects = objects "delete " $1 " " table " " $2 "\n" }
      END { printf "%s%s", gone, objects }' >"$TMP/nft.strip"
    [ ! -s "$TMP/nft.strip" ] || nft -f "$TMP/nft.strip" >/dev/null 2>&1 || :
  done
}
