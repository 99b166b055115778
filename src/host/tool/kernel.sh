# --------------------------------------------------------------------------------------------------- the kernel as text

# AWK_LINES: awk for what iptables lists: a rule is one line. A comment of others may hold line breaks, and what stands
# behind one may look like a rule of ours.
export AWK_LINES='
{ line = line $0; text = $0; gsub(/\\./, "", text); quotes += gsub(/"/, "", text) }
quotes % 2 { line = line " "; next }
{ print line; line = ""; quotes = 0 }
END { if (line != "") print line }'

# Runs on the gateway and in the empty namespace alike, hence a text. What a farm has learned is nothing to compare, and
# may be millions of entries: so nft lists the table without elements (only a whole family spares the fetching, but where
# a comment of others has a line break, what looks like our table may be theirs), and the shared maps on their own; ipset
# lists the entries of sets without a time-out. iptables-save is asked for tables that exist.
# A list that breaks off (for want of memory, or of room in a socket) would look like rules that are gone: hence a line "! "
# where a program failed, but for what is not there to be listed, and one at the end.
LISTER='
broke_off() {
  case $("$@" 2>&1 >/dev/null) in *"not supported"* | *"Invalid argument"* | *"No such file"*) ;; *) echo "! $*" ;; esac
}
for family in ip ip6; do
  command -v nft >/dev/null || break
  listing=$(nft -s -t list ruleset $family 2>/dev/null) || { broke_off nft -s -t list ruleset $family; continue; }
  table=$(printf "%s\n" "$listing" | awk -v head="table $family netfilter_lb {" \
    "\$0 == head { ours = 1 } ours { print } /^}/ { ours = 0 } gsub(/\"/, \"\") % 2 { broken = 1 } END { exit broken }") ||
    table=$(nft -s -t list table $family netfilter_lb 2>/dev/null) || broke_off nft -s -t list table $family netfilter_lb
  [ -n "$table" ] || continue
  printf "%s\n" "$table"
  names=$(printf "%s\n" "$table" | sed -n -e "s/^.\(map [a-z_]*\) {$/\1/p" -e "s/^.\(set [a-z_]*\) {$/\1/p") || echo "! sed"
  [ -z "$names" ] || printf "%s\n" "$names" | while read -r kind name; do
    nft -s list $kind $family netfilter_lb $name || broke_off nft list $kind $family netfilter_lb $name
  done
done
for save in "ip iptables-save" "ip6 ip6tables-save"; do
  command -v "${save#* }" >/dev/null || continue
  printf "# data-plane iptables\n# %s\n" "${save%% *}"
  if command -v ipset >/dev/null; then
    ipset -t list 2>/dev/null | grep -E "^(Name|Type|Header): "
    ipset -t list 2>/dev/null | sed -n -e "/^Name: /h" -e "/^Header: .* timeout /d" -e "/^Header: /{g;s/^Name: NFLB-/NFLB-/p;}" |
      while read -r name; do ipset save "$name" || echo "! ipset save $name"; done
  fi
  { "${save#* }" 2>/dev/null || broke_off "${save#* }"; } | awk "$AWK_LINES" || echo "! awk"
done
echo "! end"'

# kernel_text: turns the listing into the form of a rule set, so that the same plans work from it.
kernel_text() {
  awk '
  # A set of ours, as a rule set has it.
  function made(name, type,    i, value, inet) {
    for (i = 2; i < NF; i++) value[$i] = $(i + 1)
    inet = section == "ip6" ? "inet6" : "inet"
    taken = value["family"] == inet
    if (taken) print "create " name " " type " family " inet " maxelem " value["maxelem"] ("timeout" in value ? " timeout " value["timeout"] : "")
  }
  BEGIN { print "# data-plane nftables"; broken = "the list" }
  /^! / { broken = $0 == "! end" ? (broken == "the list" ? "" : broken) : substr($0, 3); next }
  END { if (broken != "") { print "the rules could not be listed: " broken " broke off" | "cat >&2"; exit 1 } }
  /^# ip/ { section = $2 }
  /^# [GCW]/ { next }
  /^Name: / { name = $2; next }
  /^Type: / { type = $2; next }
  /^Header: / { if (name ~ /^NFLB-/ && / timeout /) made(name, type); next }
  /^create / { made($2, $3); next }
  /^add / { if (taken) print $1, $2, $3; next }
  /^table / { family = $2; again = seen[family]++; if (!again) print; next }
  /^\t(map|set) / { object = $2 }
  /^\t\telements = \{/ { inside = 1; sub(/^[^{]*\{/, "") }
  inside {
    done = sub(/}[ \t]*$/, "")
    n = split($0, part, ",")
    for (i = 1; i <= n; i++) {
      gsub(/^[ \t]+|[ \t]+$/, "", part[i])
      if (part[i] != "") late[++lates] = "add element " family " netfilter_lb " object " { " part[i] " }"
    }
    if (done) inside = 0
    next
  }
  /^}$/ { if (!again) print; for (i = 1; i <= lates; i++) print late[i]; lates = again = 0; next }
  # The object of a farm goes on one line.
  /^\t(map|set|ct helper) [^ ]*\..* \{$/ { joined = $0; next }
  joined != "" {
    if ($0 == "\t}") { print joined " }"; joined = "" } else { sub(/^\t+/, " "); joined = joined $0 ";" }
    next
  }
  again { next }
  { print }'
}

# survey WANT TEXT [FARM [CLAIMED]]: one line for each thing of ours in TEXT: whose it is, which object, and the rule; sorted, so
# that two kernels compare however they were filled. Rules keep their order, elements have none: the kernel lists
# intervals by when they came.
survey() {
  awk -v only="${3:-}" "$AWK_SERVICE"'
  function show(who, object, text, unordered) {
    if (only == "" || who == only || who == "base") printf "%s\t%s\t%06d\t%s\n", who, object, unordered ? 0 : NR, text
  }
  function of_chain(name,    short) {
    short = name; sub(/^NFLB-/, "", short); sub(/\..*/, "", short)
    return short in by_short ? by_short[short] : "no farm"
  }
  # What stands in a shared place and belongs to nobody is drift of what all share.
  function of_service(name) { return name in by_service ? by_service[name] : "base" }
  role == "want" && /^# farm / { farm = $3 }
  role == "want" && /^# short-name / { by_short[$3] = farm }
  role == "want" && /^# service / { by_service[$3 " " $4 " " $5] = farm }
  role == "claimed" { if (!($3 " " $4 " " $5 in by_service)) by_service[$3 " " $4 " " $5] = "another farm" }
  role == "want" || role == "claimed" { next }
  /^# data-plane / { plane = $3; next }
  /^# ip/ { family = $2; next }
  plane == "nftables" && /^table / { family = $2; next }
  plane == "nftables" && /^\t(map|set|ct helper|chain) / {
    text = substr($0, 2); sub(/ \{$/, "", text)
    object = family " " $1 " " ($1 == "ct" ? $2 " " $3 : $2); who = object ~ /\./ ? of_chain($1 == "ct" ? $3 : $2) : "base"
    show(who, object, text); next
  }
  plane == "nftables" && /^\t\t/ { text = $0; gsub(/^\t+/, "", text); show(who, object, text); next }
  plane == "nftables" && /^add element / {
    parse_element()
    who = verdict ~ /^goto / ? of_chain(substr(verdict, 6)) : of_service(element_service($5, key))
    show(who, $3 " element " $5, $0, 1); next
  }
  plane == "nftables" { next }
  /^(create|add) NFLB-/ { show(of_chain($2), family " set " $2, $0, 1); next }
  /^\*/ { table = substr($1, 2); next }
  # In the tree of all its lines stand elsewhere, and in another order, than in that of one farm.
  only != "" && (/^:NFLB-[A-Z]+\.[0-9]+ / || / -g NFLB-[A-Z]+\.[0-9]+$/) { next }
  only != "" && /^-A NFLB-[A-Z]+\.[0-9]+ / { sub(/\.[0-9]+ /, " ") }
  / -g NFLB-[A-Z]+\.[0-9]+$/ { show("base", family " " table " " $2, $0); next }
  /^:NFLB-/ { chain = substr($1, 2); show(chain ~ /^NFLB-[A-Z]+(\.[0-9]+)?$/ ? "base" : of_chain(chain), family " " table " " chain, ":" chain); next }
  /^-A NFLB-[A-Z]+(\.[0-9]+)? / { show(of_service(rule_service()), family " " table " " $2, $0, only != ""); next }
  /^-A NFLB-/ { show(of_chain($2), family " " table " " $2, $0); next }
  /^-A [A-Z]+ -j NFLB-[A-Z]+$/ { show("base", family " " table " " $2, $0) }
  ' role=want "$1" role=claimed "${4:-/dev/null}" role=text "$2" >"$TMP/survey" && sort "$TMP/survey" >"$TMP/survey.sorted" && cut -f 1,2,4 "$TMP/survey.sorted"
}

# look: what the kernel holds now, as $TMP/kernel.
look() { sh -c "$LISTER" 2>/dev/null | clean | kernel_text >"$TMP/kernel" 2>>"$TMP/words"; }

# drift WANT [FARM]: loads WANT into an empty network namespace with the very same nft and iptables, lists there and
# here, and writes what differs to $TMP/drift: "- OWNER object rule" is missing, "+ …" is extra. Returns 0 when there is
# nothing, 1 on drift, 6 where it cannot be told.
drift() {
  : >"$TMP/drift"
  : >"$TMP/claimed"
  # What belongs to no farm is told only by knowing them all.
  [ -z "${2:-}" ] || grep -h "^# service " "$FARMS"/*.rules >"$TMP/claimed" 2>/dev/null
  command -v unshare >/dev/null 2>&1 || return 6
  nft_plan "$TMP/none" "$1" || return 6
  while read -r drift_family; do
    nft_maps "$drift_family" "$1" "$TMP/kernel" | nft_base "$drift_family"
    ! locked "$drift_family" nftables || nft_lock "$drift_family"
  done <"$TMP/families" >"$TMP/expected.base"
  cat "$TMP/expected.base" "$TMP/nft.1" "$TMP/nft.2" "$TMP/nft.3" >"$TMP/expected.nft" || return 6
  # The policy of FORWARD decides about our accepts, so the empty kernel must be told of it; our jumps must not.
  grep -v -e '-j NFLB-' "$TMP/kernel" >"$TMP/policy"
  for drift_family in ip ip6; do
    ipt_plan $drift_family "$TMP/policy" "$TMP/none" "$TMP/none" "$1" >"$TMP/expected.$drift_family" || return 6
  done
  sets_plan "$TMP/none" "$1" || return 6
  unshare -n sh -c 'nft_file=$1 ip_file=$2 ip6_file=$3 set_file=$4
    { [ ! -s "$nft_file" ] || nft -f "$nft_file"; } &&
    { [ ! -s "$set_file" ] || ipset restore <"$set_file"; } &&
    { [ ! -s "$ip_file" ] || iptables-restore --noflush <"$ip_file"; } &&
    { [ ! -s "$ip6_file" ] || ip6tables-restore --noflush <"$ip6_file"; } || exit 1
    '"$LISTER" sh "$TMP/expected.nft" "$TMP/expected.ip" "$TMP/expected.ip6" "$TMP/sets.before" \
    >"$TMP/expected.list" 2>"$TMP/expected.said" || return 6
  # Each may fail for want of room, and two empty files would not differ.
  clean <"$TMP/expected.list" | kernel_text >"$TMP/expected.text" 2>>"$TMP/expected.said" &&
    survey "$1" "$TMP/expected.text" "${2:-}" "$TMP/claimed" >"$TMP/expected" &&
    survey "$1" "$TMP/kernel" "${2:-}" "$TMP/claimed" >"$TMP/live" || return 6
  # A program that lists nonsense lists it on both sides.
  { ! grep -q '^add element' "$1" || grep -q '	add element' "$TMP/expected"; } &&
    { ! grep -q '^:NFLB-' "$1" || grep -q '	:NFLB-' "$TMP/expected"; } ||
    { echo "what was loaded there is not listed" >>"$TMP/expected.said"; return 6; }
  # One farm alone says nothing about the shared parts that only the others need.
  [ -z "${2:-}" ] || {
    awk -F '\t' 'NR == FNR { seen[$2] = 1; next } $1 != "base" || $2 in seen' "$TMP/expected" "$TMP/live" >"$TMP/live.2" &&
      mv "$TMP/live.2" "$TMP/live" || return 6
  }
  diff -U 0 "$TMP/expected" "$TMP/live" >"$TMP/differences" || [ $? = 1 ] || return 6
  sed -e '1,2d' -e '/^@@/d' -e 's/^\([-+]\)/\1 /' "$TMP/differences" >"$TMP/drift" || return 6
  [ ! -s "$TMP/drift" ]
}

# settle WANT: the sure way: makes both planes hold WANT and nothing else of ours. Nothing is done where all is live.
settle() {
  look || return 1
  : >"$TMP/drift"
  if grep -q '^table \|^:NFLB-\|^create ' "$TMP/kernel"; then
    drift "$1" && return 0
    look || return 1
  elif ! grep -q '^# data-plane' "$1" && ! grep -qs ' on ' "$FORWARD"; then
    return 0
  fi
  if command -v nft >/dev/null 2>&1; then nft_settle "$1" || return 1; fi
  ipt_settle "$1"
}
