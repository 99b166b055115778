# ------------------------------------------------------------------------------------------------------------- iptables

# ipt FAMILY [SUFFIX]: the command of a family, in whatever variant (legacy, nft) the gateway uses, or in $ipt_variant.
ipt_variant=''
ipt() { case $1 in ip) echo "iptables$ipt_variant${2:-}" ;; *) echo "ip6tables$ipt_variant${2:-}" ;; esac; }

# Whether a line of iptables-save, or of "iptables -S", closes FORWARD.
AWK_CLOSES='
function closes_forward(line) { return line ~ /^(:|-P )FORWARD DROP/ || line ~ /^-A FORWARD .*-j (DROP|REJECT)/ }
'

# ipt_plan FAMILY HOOKS OLD REST NEW: prints the one restore that leads from OLD to NEW beside REST. The shared chains
# are filled again from everything that is to be (which heals them) as trees, the farm's own from NEW.
#   layout nat: guards and accepts of old and new; nat; then mangle and filter without what leaves.
#   zevenet: a mark must find its translation at every moment, so nat first learns the new marks and keeps the old.
# On an nftables gateway whose FORWARD drops, an accept in another table ends nothing: it must stand in FORWARD itself.
ipt_plan() {
  # What is cleared from the other variant leaves no lock there: it stands in this one.
  ipt_locked=
  [ -n "$ipt_variant" ] || ! locked "$1" iptables || ipt_locked=1
  awk -v family="$1" -v locked="$ipt_locked" -v WALK=$WALK "$AWK_SERVICE$AWK_CLOSES$AWK_TREE"'
  BEGIN {
    gate = "-A NFLB-FORWARD "
    # A translated packet has nothing to fear from the guards. The data connection that a backend opens (active ftp) keeps its
    # destination; expected it is, and its source is translated.
    pass = gate "-m conntrack --ctstate DNAT -j RETURN"
    expected = gate "-m conntrack --ctstate SNAT --ctstatus EXPECTED -j RETURN"
    stop = gate "-j DROP"
  }
  function is_shared(chain) { return chain ~ /^NFLB-[A-Z]+$/ }
  function add(table, chain, line) { want[table, chain, line] = 1; new_line[table, chain, ++new_count[table, chain]] = line }
  function add_once(table, chain, line) { if (!((table, chain, line) in want)) add(table, chain, line) }
  function was(table, chain, line) {
    if ((table, chain, line) in before) return
    before[table, chain, line] = 1
    there_line[table, chain, ++there_count[table, chain]] = line
  }
  function open_forward(line) {
    line = gate line " -j ACCEPT"
    if (role != "new") was("filter", "NFLB-FORWARD", line)
    if (role != "old" && closed) add_once("filter", "NFLB-FORWARD", line)
  }
  function opened(service,    w) {
    split(service, w, " ")
    if ((w[1] ~ /:/ ? "ip6" : "ip") != family) return
    sub(/-/, ":", w[3])
    open_forward((w[2] == "all" ? "" : "-p " w[2] " ") \
      "-m conntrack --ctstate DNAT --ctorigdst " w[1] (w[3] == ":" || w[3] == "0:65535" ? "" : " --ctorigdstport " w[3]))
  }
  # The data connections that a helper of the service expects.
  function opened_expected(service,    w) {
    split(service, w, " ")
    if ((w[1] ~ /:/ ? "ip6" : "ip") != family) return
    open_forward("-m conntrack --ctorigdst " w[1] " --ctstatus EXPECTED -m comment --comment " w[2] "_" w[3])
    open_forward("-m conntrack --ctrepldst " w[1] " --ctstatus EXPECTED -m comment --comment " w[2] "_" w[3])
  }
  /^# farm / { services = 0 }
  plane == "nftables" && /^\tct helper [^ ]*\./ { for (i = 1; i <= services; i++) opened_expected(service_of[i]) }
  /^# data-plane / { plane = $3; section = ""; if ($4 == "zevenet" && role != "rest") zevenet = 1; next }
  /^# service / { service_of[++services] = $3 " " $4 " " $5; if (plane == "nftables") opened(service_of[services]); next }
  /^# ip6?$/ { section = $2; next }
  plane == "nftables" { next }
  /^\*/ { table = substr($1, 2); next }
  section != family { next }
  # The gate is our own, and made anew.
  table == "mangle" && ($0 == pass || $0 == expected || $0 == stop) { next }
  role == "hooks" {
    if (table == "filter" && closes_forward($0)) closed = 1
    if ($1 == "-A") {
      place[table, $2]++
      if ($0 == "-A " $2 " -j NFLB-" $2) { jumps[table, $2]++; if (place[table, $2] == 1) first[table, $2] = 1 }
    }
    next
  }
  # Of a tree in the kernel the lines count, and its chains.
  /^:NFLB-[A-Z]+\.[0-9]+ / { split(substr($1, 2), tree, "."); had_trees[table, tree[1]] = had_trees[table, tree[1]] " " tree[2]; next }
  /^-A NFLB-[A-Z]+(\.[0-9]+)? .* -g NFLB-[A-Z]+\.[0-9]+$/ { next }
  /^-A NFLB-[A-Z]+\.[0-9]+ / { sub(/\.[0-9]+ /, " ") }
  role != "new" && $1 == "-A" && is_shared($2) { was(table, $2, $0) }
  role == "rest" { if ($1 == "-A" && is_shared($2)) add_once(table, $2, $0); next }
  /^:NFLB-/ {
    chain = substr($1, 2)
    if (role == "new" && !is_shared(chain)) { new_own[table, ++news[table]] = chain; is_new[table, chain] = 1 }
    else if (role == "old" && !is_shared(chain)) old_own[table, ++olds[table]] = chain
    else if (role == "old") had[table, chain] = 1
  }
  /^-A NFLB-/ && role == "old" { old_line[table, $2, ++old_count[table, $2]] = $0; if (is_shared($2)) had[table, $2] = 1 }
  /^-A NFLB-/ && role == "new" { if (is_shared($2)) add_once(table, $2, $0); else add(table, $2, $0) }
  function emit(line) { out[++outs] = line }
  # The lines of a chain, as row[]: what is to be, and behind it, unless that is all, what was. A farm that takes a service over may
  # not know the marks of the farm that had it: what it leaves (-j for -g) goes on to that one.
  function fill(table, chain, final,    i, line) {
    rows = 0
    for (i = 1; i <= new_count[table, chain]; i++) {
      line = new_line[table, chain, i]
      if (!final && is_shared(chain)) sub(/ -g /, " -j ", line)
      row[++rows] = line
      # What nat chose to refuse has an answer to come in filter.
      if (locked && table == "mangle" && chain == "NFLB-FORWARD" && sub(/ -m mark ! --mark [^ ]+ -j DROP$/, " -j RETURN", line)) row[++rows] = line
    }
    for (i = 1; i <= old_count[table, chain] && !final; i++)
      if (!((table, chain, old_line[table, chain, i]) in want)) row[++rows] = old_line[table, chain, i]
  }
  function emit_rows(    i) { for (i = 1; i <= rows; i++) emit(row[i]) }
  function numbers(count,    i, list) { for (i = 1; i <= count; i++) list = list " " i; return list }
  # The chains that the tree of a shared chain has in the kernel, by number. In which order its lines came does not matter.
  function trees_there(table, chain,    i) {
    if (!((table, chain) in had_trees)) {
      rows = there_count[table, chain]
      for (i = 1; i <= rows; i++) row[i] = there_line[table, chain, i]
      grow(chain, rows)
      had_trees[table, chain] = numbers(trees)
    }
    return had_trees[table, chain]
  }
  # A chain that goes is made once more, so that it may be missing.
  function emit_tree(table, chain, final,    there, n, i, more) {
    n = split(trees_there(table, chain), there, " ")
    fill(table, chain, final)
    grow(chain, rows)
    for (i = 1; i <= n; i++) if (there[i] > trees) more = more " " there[i]
    had_trees[table, chain] = numbers(trees) (final ? "" : more)
    n = split(numbers(trees) more, there, " ")
    for (i = 1; i <= n; i++) emit(":" chain "." there[i] " - [0:0]")
    for (i = 1; i <= growns; i++) emit(grown[i])
    for (i = trees + 1; i <= n && final; i++) emit("-X " chain "." there[i])
  }
  # A shared chain and the jump to it, which is the first rule of its hook. A chain without a line goes.
  function shared_block(table, hook, final,    chain, lines, gated) {
    chain = "NFLB-" hook
    gated = table == "mangle" && hook == "FORWARD"
    lines = new_count[table, chain] + (final ? 0 : old_count[table, chain]) + (gated && locked)
    if (!lines && !(final && (had[table, chain] || jumps[table, hook]))) return
    emit(":" chain " - [0:0]")
    if (gated && lines) emit(pass)
    # A lock is what stands behind all lines, so there is no way round it by another chain.
    if (gated && locked) {
      emit(expected)
      fill(table, chain, final); emit_rows()
      emit(stop)
    } else
      emit_tree(table, chain, final)
    if (lines && jumps[table, hook] == 1 && first[table, hook]) return
    for (; jumps[table, hook] > 0; jumps[table, hook]--) emit("-D " hook " -j " chain)
    if (!lines) { emit("-X " chain); return }
    emit("-I " hook " 1 -j " chain)
    jumps[table, hook] = first[table, hook] = 1
  }
  # One block. final: what is to be and nothing more; otherwise what was stays behind it.
  function block(table, final,    i, n, hooks) {
    outs = 0
    for (i = 1; i <= news[table]; i++) emit(":" new_own[table, i] " - [0:0]")
    for (i = 1; i <= olds[table]; i++) if (!((table, old_own[table, i]) in is_new)) emit(":" old_own[table, i] " - [0:0]")
    n = split("PREROUTING INPUT FORWARD OUTPUT POSTROUTING", hooks, " ")
    for (i = 1; i <= n; i++) shared_block(table, hooks[i], final)
    for (i = 1; i <= news[table]; i++) { fill(table, new_own[table, i], final); emit_rows() }
    for (i = 1; i <= olds[table]; i++) {
      if ((table, old_own[table, i]) in is_new) continue
      if (final) emit("-X " old_own[table, i])
      else { fill(table, old_own[table, i], final); emit_rows() }
    }
    print_block(table)
  }
  # Only the guards of mangle, of old and new.
  function guards() { outs = 0; shared_block("mangle", "INPUT"); shared_block("mangle", "FORWARD"); print_block("mangle") }
  function print_block(table,    i) {
    if (!outs) return
    print "*" table
    for (i = 1; i <= outs; i++) print out[i]
    print "COMMIT"
  }
  END {
    for (id in old_line) {
      split(id, w, SUBSEP)
      if (is_shared(w[2]) && !((w[1], w[2], old_line[id]) in want)) leaves[w[1]] = 1
    }
    early = zevenet || leaves["mangle"]
    # What binds a helper comes first: nat ends what can still be said about a new connection.
    block("raw", !leaves["raw"])
    if (early) guards(); else block("mangle", 1)
    block("filter", !leaves["filter"])
    block("nat", !zevenet)
    if (early) block("mangle", 1)
    if (zevenet) block("nat", 1)
    if (leaves["filter"]) block("filter", 1)
    if (leaves["raw"]) block("raw", 1)
  }' role=hooks "$2" role=old "$3" role=rest "$4" role=new "$5"
}

# ipt_hooks FAMILY FILE…: the built-in chains that the texts hang on, as they are now, in the form of iptables-save.
ipt_hooks() {
  ipt_command=$(ipt "$1")
  printf '# data-plane iptables\n# %s\n' "$1"
  ipt_locked=
  ! locked "$1" iptables || ipt_locked=1
  awk -v family="$1" -v locked="$ipt_locked" '
    function hang(chain) { if (!seen[chain]++) print chain }
    /^# ip6?$/ { section = $2 } /^# data-plane / { section = "" } /^\*/ { table = substr($1, 2) }
    section == family && /^-A NFLB-[A-Z]+ / { hang(table " " substr($2, 6)) }
    END { hang("filter FORWARD"); if (locked) hang("mangle FORWARD") }' "$2" "$3" "$4" >"$TMP/hooked" || return 1
  while read -r ipt_table ipt_chain; do
    echo "*$ipt_table"
    ipt_rules=$("$ipt_command" -w 10 -t "$ipt_table" -S "$ipt_chain") || return 1
    printf '%s\n' "$ipt_rules" | awk "$AWK_LINES" || return 1
  done <"$TMP/hooked"
}

# ipt_run FAMILY FILE: tests the whole, then commits it. The test comes first because a restore is atomic in each table
# but not across tables.
ipt_run() {
  [ -s "$2" ] || return 0
  ipt_command=$(ipt "$1" -restore)
  if "$ipt_command" --wait 10 --noflush --test <"$2" >/dev/null 2>"$TMP/ipt.said"; then
    touched=1
    "$ipt_command" --wait 10 --noflush <"$2" >/dev/null 2>"$TMP/ipt.said" && return
  fi
  ipt_words "$2" >>"$TMP/words"
  return 1
}

# ipt_words FILE: what a restore of FILE said, with the line that it names by number alone. Of several the first is the cause.
ipt_words() {
  awk '
  role == "text" { if (/^\*/) table = substr($0, 2); text[FNR] = "table " table ", " $0; next }
  match($0, /line:? [0-9]+/) {
    number = substr($0, RSTART, RLENGTH); sub(/^[^0-9]*/, "", number)
    if (!named++) print $0 " (" text[number] ")"
    next
  }
  { print }' role=text "$1" role=said "$TMP/ipt.said"
}

# A line of FORWARD that drops, or our jump in it.
IPT_DROPS='^-P FORWARD DROP|-j (DROP|REJECT|NFLB-FORWARD)'

# forward_matters FAMILY PATTERN: whether iptables' FORWARD has a line of this kind. The legacy command is not
# asked where its table is not loaded, because asking loads it.
forward_matters() {
  forward_command=$(ipt "$1")
  command -v "$forward_command" >/dev/null 2>&1 || return 1
  case $("$forward_command" -V 2>/dev/null) in
    *legacy*) grep -qsx filter "/proc/net/${1}_tables_names" || return 1 ;;
  esac
  "$forward_command" -w 10 -S FORWARD 2>/dev/null | grep -qE -e "$2"
}

# ipt_change OLD NEW: for each family that is touched, one restore. $changed: the farms that REST is without.
ipt_change() {
  sets_plan "$1" "$2" && sets_before || return 1
  for ipt_family in ip ip6; do
    case "$planes " in
      *" $ipt_family "*) ;;
      # A farm that lost its services of a family to another still has its chains there.
      *) grep -qx "# $ipt_family" "$1" "$2" || { [ -n "$look_forward" ] && forward_matters "$ipt_family" "$IPT_DROPS"; } || continue ;;
    esac
    # shellcheck disable=SC2086 # a list of names without blanks
    stored $changed >"$TMP/rest" || return 1
    ipt_hooks "$ipt_family" "$1" "$TMP/rest" "$2" >"$TMP/hooks" 2>>"$TMP/words" || return 1
    ipt_plan "$ipt_family" "$TMP/hooks" "$1" "$TMP/rest" "$2" >"$TMP/restore.$ipt_family" &&
      ipt_run "$ipt_family" "$TMP/restore.$ipt_family" || return 1
  done
  sets_after
}

ipt_settle() {
  sets_plan "$TMP/kernel" "$1" && sets_before || return 1
  for ipt_family in ip ip6; do
    grep -qx "# $ipt_family" "$TMP/kernel" || continue
    ipt_plan "$ipt_family" "$TMP/kernel" "$TMP/kernel" "$TMP/none" "$1" >"$TMP/restore.$ipt_family" &&
      ipt_run "$ipt_family" "$TMP/restore.$ipt_family" || return 1
  done
  sets_after
}

# ipt_strays: the families in whose other variant rules of ours stand, since this gateway changed from the one to the other
# (update-alternatives). Both work, and no command of this variant would ever show them or change them: FAMILY SUFFIX.
ipt_strays() {
  for strays_family in ip ip6; do
    strays_command=$(ipt "$strays_family")
    case $("$strays_command" -V 2>/dev/null) in
      *legacy*) strays_other=-nft ;;
      # To ask the legacy command would load its tables.
      *nf_tables*) strays_other=-legacy; grep -qs . "/proc/net/${strays_family}_tables_names" || continue ;;
      *) continue ;;
    esac
    ! "$strays_command$strays_other-save" 2>/dev/null | awk "$AWK_LINES" | grep -q '^:NFLB-' || echo "$strays_family $strays_other"
  done
}

# ipt_clear_strays: once this variant serves, the other one need not.
ipt_clear_strays() {
  ipt_strays >"$TMP/strays"
  while read -r strays_family ipt_variant; do
    { printf '# data-plane iptables\n# %s\n' "$strays_family"; "$(ipt "$strays_family" -save)" | awk "$AWK_LINES"; } >"$TMP/stray" 2>/dev/null
    ipt_plan "$strays_family" "$TMP/stray" "$TMP/stray" "$TMP/none" "$TMP/none" >"$TMP/restore.stray" &&
      ipt_run "$strays_family" "$TMP/restore.stray" || warn "rules of farms stay in $(ipt "$strays_family"): $(words)"
  done <"$TMP/strays"
  ipt_variant=''
}

# foreign_drops: chains on the forward hook that drop by policy and that no rule of ours can open: an accept in one
# table ends nothing for the others.
foreign_drops() {
  command -v nft >/dev/null 2>&1 || return 0
  nft list chains 2>/dev/null | awk '
    /^table / { family = $2; table = $3 }
    /^\tchain / { chain = $2 }
    /hook forward .*policy drop/ && !(family ~ /^ip6?$/ && table == "filter" && chain == "FORWARD") && family ~ /^(ip|ip6|inet)$/ {
      print "the chain " family " " table " " chain " drops forwarded packets by policy: let the farms through there (ct status dnat accept)"
    }'
}
