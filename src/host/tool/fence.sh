# ----------------------------------------------------------------------------------------------------- what may come in

# check_set FILE FARM: prints what is wrong with a rule set. It also holds the fence: whoever may run this tool (by
# sudo, say) may change farms and nothing else. So every line must belong to the farm and to a service it names, and its
# rules may be made only of the words that docs/rule-set.md has: no quotes, no negation, no other chain, set or module.
# What remembers, counts or logs may stand only as a whole line, in the form that compilers write. It fails where it could
# not look, for want of memory, say: then nothing may come in.
check_set() {
  check_bytes "$1" || return 1
  [ ! -s "$TMP/odd" ] || { echo "$ODD_BYTES"; return; }
  check_lines "$2" "$1"
}

# check_bytes FILE: what it holds that is no text, as $TMP/odd: awks differ in what they make of a NUL, and nft and iptables in what
# ends a line.
check_bytes() { tr -d '\11\12\40-\176' <"$1" >"$TMP/odd"; }
ODD_BYTES='it holds bytes other than printable ASCII'

# check_lines FARM FILE: the rest of check_set. Without a FARM each of several files is called after its own, and "FARM: " stands
# before what is wrong.
check_lines() {
  check_only=$1
  shift
  : >"$TMP/tables" || return 1
  awk -v only="$check_only" -v tables="$TMP/tables" "$AWK_SERVICE"'
  function say(what) { print (only == "" ? farm ": " : "") what; said = 1; exit }
  function bad(why) { if (!said) say("line " FNR " " why) }
  function ends() { if (!said && (last < 5 || !services || in_chain || in_table || table != "")) say("it ends too early, at line " last) }
  function begins() {
    if (farm != "") ends()
    farm = only == "" ? FILENAME : only
    short = plane = family = section = table = ""
    services = told = body = in_chain = in_table = depth = 0
    split("", claimed); split("", object); split("", own_set); split("", own_chain); split("", learns)
  }
  function allow(list, set,    n, i, part) { n = split(list, part, " "); for (i = 1; i <= n; i++) set[part[i]] = 1 }
  BEGIN {
    allow("ct mark set numgen jhash random inc mod seed map vmap dnat snat to masquerade drop reject with reset meta l4proto th sport dport tcp udp sctp original ip ip6 saddr daddr goto != { } : . & |", word)
    allow("-d -s -i -p -m -j -g --dport --tcp-flags --ctstate --ctorigdst --ctorigdstport --ctrepldst --ctstatus --mark --mode --probability --every --packet --comment --match-set --limit --limit-burst --hashlimit-above --hashlimit-burst --hashlimit-mode --hashlimit-name --hashlimit-htable-expire --connlimit-above --connlimit-mask --set-xmark --nfmask --ctmask --to-destination --to-source --add-set --hmark-src-prefix --hmark-dst-prefix --hmark-spi-mask --hmark-rnd --hmark-mod --log-prefix --log-level --reject-with --helper", option)
    allow("--save-mark --restore-mark --connlimit-saddr --exist", flag)
    allow("--tcp-flags --match-set --mark", negated)
    allow("tcp udp sctp conntrack mark statistic comment set limit hashlimit connlimit", match_name)
    allow("DROP ACCEPT RETURN REJECT LOG MARK CONNMARK HMARK SET CT DNAT SNAT MASQUERADE", target)
    allow("tcp-reset icmp-port-unreachable icmp6-port-unreachable", answer)
    allow("amanda ftp Q.931 irc netbios-ns pptp sane sip snmp tftp", helper)
  }
  function header(name) { if ($1 != "#" || $2 != name || NF < 3) bad("should be \"# " name " …\""); return $3 }
  # In the one form that compilers write: nft would look up a name such as cafe.de, and 010 is no 10 to everybody.
  function address_ok(text) {
    return text ~ /:/ ? text ~ /^[0-9a-f:.]+$/ : text ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$/ && text !~ /(^|\.)0[0-9]/
  }
  function port_ok(port) { return port ~ /^[0-9]+(-[0-9]+)?$/ && last_port(port) <= 65535 && first_port(port) <= last_port(port) }
  function own_nft(name) { return index(name, short ".") == 1 && substr(name, length(short) + 2) ~ /^farm(\.[A-Za-z0-9_-]+)?$/ }
  function own_ipt(name) { return name == "NFLB-" short || index(name, "NFLB-" short ".") == 1 && name ~ /^[A-Za-z0-9_.-]+$/ }
  # The words of a line in a chain of nftables: known ones, numbers and addresses; behind "goto" a chain of the farm.
  function check_words(    text, n, i, part) {
    text = $0; sub(/#.*/, "", text)
    n = split(text, part, /[ \t,]+/)
    for (i = 1; i <= n; i++) {
      if (part[i] == "") continue
      if (part[i] == "{") depth++
      if (part[i] == "}" && --depth < 0) bad("closes more braces than are open")
      if (i > 1 && part[i - 1] == "goto") { if (!own_nft(part[i])) bad("leads out of the farm") }
      else if (!(part[i] in word) && !(part[i] ~ /[0-9:]/ && part[i] ~ /^[][0-9a-fx:.\/-]+$/)) bad("may not stand in a farm chain: " part[i])
    }
  }
  # A map, set or helper of the farm.
  function is_object(    name, head, type, form) {
    name = $1 == "ct" ? $3 : $2
    head = "\t" ($1 == "ct" ? "ct helper" : $1) " " name
    if (index($0, head " {") != 1 || index(name, short ".") != 1) return 0
    form = substr(name, length(short) + 2) substr($0, length(head) + 1)
    type = family == "ip" ? "ipv4_addr" : "ipv6_addr"
    object[family, name] = 1
    if ($1 == "ct" && !(substr($6, 2, length($6) - 2) in helper)) return 0
    if ($1 == "map") return form ~ "^affinity\\.[a-z-]+\\.[0-9]+ \\{ type " type "( \\. inet_service)? : mark; size [0-9]+; flags dynamic,timeout; }$"
    if ($1 == "ct") return form ~ /^[a-z0-9-]+\.(tcp|udp) \{ type "[A-Za-z0-9.-]+" protocol (tcp|udp); }$/
    return form ~ "^(connections|rate-all\\.[0-9]+)\\.[0-9]+ \\{ type " type "; size 1; flags dynamic; }$" ||
      form ~ /^backend-connections\.[0-9]+ \{ type mark; size [0-9]+; flags dynamic; }$/ ||
      form ~ "^rate\\.[0-9]+\\.[0-9]+ \\{ type " type "; size [0-9]+; flags dynamic,timeout; }$" ||
      form == "counters { type mark; size 65536; flags dynamic; counter; }"
  }
  # A statement with an object of the farm, a limit, or a log. Within braces it can only be behind the closing one.
  function is_statement(    text, name) {
    if (!/^\t\t/) return 0
    text = substr($0, 3)
    if (depth == 1 && text ~ /^} add @/) { depth = 0; text = substr(text, 3) }
    if (depth) return 0
    if (match(text, /(@|helper set ")[^ "]+/)) {
      name = substr(text, RSTART, RLENGTH); sub(/^(@|helper set ")/, "", name)
      if (!((family, name) in object)) return 0
    }
    if (match(text, /prefix "[^"]*"/) && RLENGTH > 9 + 28) return 0
    return text ~ /^tcp flags & \(fin \| syn \| rst \| ack\) != syn drop$/ ||
      text ~ /^update @[^ ]+ \{ (ip daddr & 0\.0\.0\.0|ip6 daddr & ::) limit rate over [0-9]+\/second burst [0-9]+ packets } drop$/ ||
      text ~ /^limit rate [0-9]+\/second burst [0-9]+ packets log prefix "[A-Za-z0-9_.:=-]+" level info$/ ||
      text ~ /^update @[^ ]+ \{ ip6? saddr timeout [0-9]+s limit rate over [0-9]+\/second burst [0-9]+ packets } drop$/ ||
      text ~ /^add @[^ ]+ \{ (ip daddr & 0\.0\.0\.0|ip6 daddr & ::) ct count over [0-9]+ } drop$/ ||
      text ~ /^add @[^ ]+ \{ ct mark( & 0x[0-9a-f]+)? ct count over [0-9]+ } drop$/ ||
      text ~ /^update @[^ ]+ \{ ct mark( & 0x[0-9a-f]+)? }$/ ||
      text ~ /^ct helper set "[^ "]+"$/ ||
      text ~ /^ct mark set ip6? (saddr( \. th sport)?|daddr) map @[^ ]+$/ ||
      text ~ /^(delete|update) @[^ ]+ \{ ip6? (saddr( \. th sport)?|daddr)( timeout [0-9]+s)? : ct mark }$/
  }
  # A table of hashlimit, named after the farm: by the hash of a name that is too long, which the caller works out.
  function own_table(name,    i, value) {
    if (name !~ /^[A-Za-z0-9_.-]+$/) return 0
    if (index(name, short ".") == 1) return 1
    for (i = 3; i < NF; i++) value[$i] = $(i + 1)
    sub(/\/sec$/, "", value["--hashlimit-above"])
    print name, farm, short "." ("--hashlimit-mode" in value ? "" : "all.") value["--hashlimit-above"] "." value["--hashlimit-burst"] > tables
    return 1
  }
  # A rule of iptables: options, each with its value.
  function check_options(    i, name, ok) {
    for (i = 3; i <= NF; i++) {
      if ($i in flag) continue
      if ($i == "!" && !($(++i) in negated) || !($i in option)) bad("may not stand in a farm chain: " $i)
      name = $i; i++
      if (name == "--tcp-flags") ok = $i ~ /^[A-Z,]+$/ && $(++i) ~ /^[A-Z,]+$/
      else if (name ~ /^--(match|add)-set$/) ok = ($i in own_set) && $(++i) ~ /^(src|dst)(,src)?$/
      else if (name == "--log-prefix") ok = length($i) <= ($i ~ /"/ ? 30 : 28) && $i ~ /^("[A-Za-z0-9_.:=-]+"|[A-Za-z0-9_.:=-]+)$/
      else if (name == "--hashlimit-name") ok = own_table($i)
      else if (name == "--reject-with") ok = $i in answer
      else if (name == "--ctstatus") ok = $i == "EXPECTED"
      else if (name == "--ctrepldst") ok = $i ~ /^[0-9a-f.:]+$/ && $(i + 1) == "--ctstatus"
      else if (name == "--helper") ok = $i in helper
      else if (name == "-m") ok = $i in match_name
      else ok = $i ~ /^[][A-Za-z0-9_.:\/][][A-Za-z0-9_.:\/-]*$/
      if (!ok) bad("has a wrong value of " name)
      if (name == "-g" && !own_ipt($i) || name == "-j" && !($i in target) && !own_ipt($i)) bad("leads out of the farm")
    }
  }
  # The line that makes a set of the farm: a list, or the clients of a backend.
  function is_set(    kind) {
    if (index($2, "NFLB-" short ".") != 1 || length($2) > 31) return 0
    kind = substr($2, length(short) + 7)
    sub(/^[^ ]+ [^ ]+ /, "")
    if (("NFLB-" short "." kind) in own_set || !sub(" family inet" (section == "ip6" ? "6" : "") " maxelem [0-9]+", "")) return 0
    own_set["NFLB-" short "." kind] = 1
    if (kind ~ /^(allow|deny)6?$/) return $0 == "hash:net"
    learns["NFLB-" short "." kind] = 1
    return $0 ~ /^hash:ip timeout [0-9]+$/ && kind ~ /^[0-9a-f]+(\.dest)?$/ || $0 ~ /^hash:ip,port timeout [0-9]+$/ && kind ~ /^[0-9a-f]+\.port$/
  }
  FNR == 1 { begins() }
  { last = FNR }
  FNR == 1 { if ($0 != "# netfilter-lb rule set 1") bad("is \"" substr($0, 1, 60) "\", and this tool knows only \"# netfilter-lb rule set 1\"") }
  FNR == 2 { if (header("farm") != farm || NF != 3) bad("says farm " $3 ", not " farm) }
  # Capitals alone are the names of the chains that all farms share.
  FNR == 3 { short = header("short-name"); if (NF != 3 || length(short) > 12 || short !~ /^[A-Za-z][A-Za-z0-9_-]*$/ || short ~ /^[A-Z]+$/) bad("has no short name") }
  FNR == 4 { header("data-plane"); plane = substr($0, 14); if (plane !~ /^(nftables|iptables nat|iptables zevenet)$/) bad("names the unknown data plane " plane) }
  FNR < 5 { next }
  /^# service / {
    # Who judges what a farm claims reads no further.
    if (body || told) bad("claims a service behind the others")
    if (NF != 5 || !address_ok($3) || !($4 ~ /^(tcp|udp|sctp)$/ && port_ok($5) || $4 == "all" && $5 == "-")) bad("is no service")
    claimed[$3 " " $4 " " $5] = 1; services++; next
  }
  !services { bad("should claim a service") }
  !body && (/^# mark-mask 0x[0-9a-f]+$/ || /^# on-removal (cut|keep)$/) { told = 1; next }
  !body && /^# backend [][0-9a-f.:]+ 0x[0-9a-f]+ [0-9]+\/[0-9]+( drain| standby)?$/ { told = 1; next }
  { body = 1 }
  plane == "nftables" && in_chain {
    if ($0 == "\t}" && depth == 0) in_chain = 0
    else if (!is_statement()) check_words()
    next
  }
  plane == "nftables" && in_table {
    if ($0 == "}") in_table = 0
    else if ($0 ~ /^\tchain [A-Za-z0-9._-]+ \{$/ && own_nft($2)) in_chain = 1
    else if (!(/^\t(map|set|ct helper) / && is_object())) bad("is not a chain, map or set of the farm")
    next
  }
  plane == "nftables" && /^table ip6? netfilter_lb \{$/ { in_table = 1; family = $2; next }
  plane == "nftables" && /^add element ip6? netfilter_lb [a-z_]+ \{ [^{};,#]+ }$/ {
    parse_element()
    if (!(element_service($5, key) in claimed)) bad("belongs to no service of the header")
    if (($3 == "ip6") != (element_service($5, key) ~ /:/)) bad("has an address of the other family")
    if ($5 ~ /guarded/ ? verdict != "" : verdict !~ /^goto / || !own_nft(substr(verdict, 6))) bad("leads out of the farm")
    next
  }
  plane == "nftables" { bad("is not of the farm: " substr($0, 1, 80)) }
  /^# ip6?$/ && table == "" { section = $2; next }
  /^\*(raw|mangle|nat|filter)$/ && table == "" && section != "" { table = substr($0, 2); next }
  /^COMMIT$/ && table != "" { table = ""; next }
  table == "" && section != "" && /^create / && is_set() { next }
  table == "" && /^add / && NF == 3 && ($2 in own_set) && !($2 in learns) && $3 ~ /^[0-9a-f.:]+(\/[0-9]+)?$/ { next }
  table != "" && /^:[^ ]+ - \[0:0\]$/ && own_ipt(substr($1, 2)) { own_chain[section, table, substr($1, 2)] = 1; next }
  table != "" && $1 == "-A" {
    if (own_ipt($2) && !((section, table, $2) in own_chain)) bad("is in a chain that its table does not have")
    if (!own_ipt($2) && (section == "ip6") != (rule_service() ~ /:/)) bad("has an address of the other family")
    if (own_ipt($2) || $2 ~ /^NFLB-(PREROUTING|OUTPUT|INPUT|FORWARD|POSTROUTING)$/ && rule_service() in claimed) { check_options(); next }
  }
  { bad((table == "" && /^(:|-A )/ ? "stands in no table: " : "is not of the farm: ") substr($0, 1, 80)) }
  END { ends() }' "$@" || return 1
  while read -r check_table check_farm check_text; do
    check_hash=$(printf %s "$check_text" | sha256sum)
    [ "$check_table" = "${check_text%"${check_text#??}"}--${check_hash%"${check_hash#????????}"}" ] ||
      { [ -n "$check_only" ] || printf '%s: ' "$check_farm"; echo "its table $check_table is not of the farm"; return; }
  done <"$TMP/tables"
}
