# ----------------------------------------------------------------------------- flows and clients of backends that leave

# forget_flows FILE: a connection keeps the decision of its first packet, "no translation" included. Flows to a new
# service that began before it would be dropped by its guard for ever: their entries go. Never a reason to fail.
forget_flows() {
  [ -s "$1" ] && command -v conntrack >/dev/null 2>&1 || return 0
  for flow_family in ipv4 ipv6; do
    conntrack -L -f $flow_family 2>/dev/null
  done | awk "$AWK_SERVICE$AWK_FLOW"'
    NR == FNR { service[++count] = $0; next }
    {
      parse_flow()
      if (flow_address != flow_reply) next
      for (i = 1; i <= count; i++) {
        split(service[i], w, " ")
        if (w[1] != flow_address || w[2] != "all" && (w[2] != flow_protocol || !ports_meet(w[3], flow_port))) continue
        flow = flow_family " " flow_address (w[2] == "all" ? "" : " " flow_protocol " " flow_port)
        if (!seen[flow]++) print flow
      }
    }' "$1" - | while read -r flow_family flow_address flow_protocol flow_port; do
    conntrack -D -f "$flow_family" -d "$flow_address" -r "$flow_address" \
      ${flow_protocol:+-p "$flow_protocol" --dport "$flow_port"} >/dev/null 2>&1 || :
  done
}

# who_leaves OLD NEW: what leaves with the backends that OLD has and NEW has not.
#
#   $TMP/leaving  their flows, a line for each service and mark: FAMILY ADDRESS PROTOCOL PORT MARK MASK, and "gone" where nobody
#                 has the service any more. UDP always: a flow that is never idle would go to a backend that left for ever (a
#                 resolver with one socket, say), while a TCP connection ends by itself. The other protocols with "on-removal
#                 cut". A service that another farm takes over is judged by the backends of that one. Files of the version
#                 before have no "# backend" lines: theirs are told by the marks in their rules.
#   $TMP/clients  their clients in the maps of affinity that stay: FAMILY MAP MARK, the mark as nft lists it.
who_leaves() {
  awk -v flows="$TMP/leaving" -v clients="$TMP/clients" "$AWK_MARK$AWK_OBJECT"'
  function backend(mark, mask) {
    if ((role, farm, number(mark)) in has) return
    has[role, farm, number(mark)] = 1
    if (role == "old") { marks[farm] = marks[farm] " " mark; if (mask != "") masks[farm] = mask }
  }
  /^# farm / { farm = $3; if (role == "new") stays[farm] = 1; next }
  /^# service / {
    if (role == "new") owner[$3, $4, $5] = farm
    else { at[++services] = $3; protocol[services] = $4; port[services] = $5; of[services] = farm }
    next
  }
  /^# mark-mask / { if (role == "old") masks[farm] = $3; next }
  /^# on-removal cut$/ { cut[role, farm] = 1; next }
  /^# backend / {
    told[role, farm] = 1; backend($4)
    if (role == "new") keeps[farm, $4] = 1; else had[farm] = had[farm] " " $4
    next
  }
  /^table / { family = $2 }
  /^\tmap [^ ]*\.affinity\./ {
    if (role == "old") old_map[object_of(family)] = 1
    else if (object_of(family) in old_map) map[object_of(family)] = farm
  }
  (role, farm) in told { next }
  /^\t\t\t0x[0-9a-f]+ : [^g]/ { backend($1) }
  /^\t\tct mark set 0x/ { backend($4) }
  /^\t\tct mark set ct mark & / { backend($NF, sprintf("%.0f", 4294967295 - number($7))) }
  / --set-xmark / { split($NF, w, "/"); backend(w[1], w[2]) }
  END {
    printf "" > flows; printf "" > clients
    for (id in map) {
      split(id, w, " ")
      n = split(had[map[id]], list, " ")
      for (i = 1; i <= n; i++) if (!((map[id], list[i]) in keeps))
        print w[2], w[4], "0x" substr("0000000", length(list[i]) - 2) substr(list[i], 3) > clients
    }
    for (i = 1; i <= services; i++) {
      new_farm = (at[i], protocol[i], port[i]) in owner ? owner[at[i], protocol[i], port[i]] : (of[i] in stays ? of[i] : "")
      which = protocol[i]
      if (!(new_farm == "" ? ("old", of[i]) in cut : ("new", new_farm) in cut)) {
        if (which !~ /^(udp|all)$/) continue
        which = "udp"
      }
      n = split(marks[of[i]], list, " ")
      for (j = 1; j <= n; j++) if (!(("new", new_farm, number(list[j])) in has))
        print (at[i] ~ /:/ ? "ipv6" : "ipv4"), at[i], which, (port[i] == "0-65535" ? "-" : port[i]), list[j], \
          (of[i] in masks ? masks[of[i]] : "0xffffffff"), (new_farm == "" ? "gone" : "") > flows
    }
  }' role=old "$1" role=new "$2"
}

# living_flows LEAVING: of the flows that leave ($TMP/leaving), those that connection tracking has something of. One
# deletion takes one walk through all flows, so each names as many as it can without one that stays.
living_flows() {
  for flow_family in ipv4 ipv6; do
    conntrack -L -f $flow_family 2>/dev/null
  done | awk "$AWK_SERVICE$AWK_MARK$AWK_FLOW"'
    NR == FNR {
      if (!(($2, $3, $4, $6) in line)) {
        line[$2, $3, $4, $6] = ++lines; at[$2] = at[$2] " " lines
        protocol[lines] = $3; port[lines] = $4; mask[lines] = number($6); text[lines] = $6; gone[lines] = $7
      }
      leaves[line[$2, $3, $4, $6], number($5)] = $5
      next
    }
    { parse_flow() }
    !(flow_address in at) { next }
    {
      n = split(at[flow_address], list, " ")
      flow = ""
      for (i = 1; i <= n && flow == ""; i++) {
        k = list[i]
        if (protocol[k] != "all" && protocol[k] != flow_protocol || port[k] != "-" && !ports_meet(port[k], flow_port)) continue
        if ((k, masked(flow_mark, mask[k])) in leaves) flow = k SUBSEP (protocol[k] == "all" ? "-" : flow_port) SUBSEP leaves[k, masked(flow_mark, mask[k])]
      }
      if (flow != "") { living[flow] = flow_family " " flow_address; next }
      # What a deletion of less than service and mark would take along.
      mark = masked(flow_mark, mask[list[1]])
      kept[flow_address, flow_protocol] = kept[flow_address, "all"] = 1
      kept[flow_address, flow_protocol, "mark", mark] = kept[flow_address, "all", "mark", mark] = 1
      kept[flow_address, flow_protocol, "port", flow_port] = 1
    }
    END {
      for (flow in living) {
        split(flow, w, SUBSEP); k = w[1]; split(living[flow], to, " ")
        id = to[2] SUBSEP protocol[k]
        if (gone[k] && !(id in kept)) found = "- - -"
        else if (!((id, "mark", number(w[3])) in kept)) found = "- " w[3] " " text[k]
        else if (gone[k] && !((id, "port", w[2]) in kept)) found = w[2] " - -"
        else found = w[2] " " w[3] " " text[k]
        found = living[flow] " " protocol[k] " " found
        if (!seen[found]++) print found
      }
    }' "$1" -
}

# forget_leaving: deletes the flows that leave ($TMP/leaving). Never a reason to fail. A range of ports
# cannot be said to conntrack, and many lines would be many walks: then it is first asked what there is.
forget_leaving() {
  [ -s "$TMP/leaving" ] && command -v conntrack >/dev/null 2>&1 || return 0
  if awk 'NR > 16 || $4 ~ /.-/ { many = 1; exit } END { exit !many }' "$TMP/leaving"; then
    living_flows "$TMP/leaving" >"$TMP/living" || return 0
  else
    mv "$TMP/leaving" "$TMP/living"
  fi
  while read -r flow_family flow_address flow_protocol flow_port flow_mark flow_mask _; do
    set -- -f "$flow_family" -d "$flow_address"
    [ "$flow_protocol" = all ] || set -- "$@" -p "$flow_protocol"
    [ "$flow_port" = - ] || set -- "$@" --dport "$flow_port"
    [ "$flow_mark" = - ] || set -- "$@" --mark "$flow_mark/$flow_mask"
    conntrack -D "$@" >/dev/null 2>&1 || :
  done <"$TMP/living"
}

# uncut FILE: says that connections go on which should be cut.
uncut() {
  command -v conntrack >/dev/null 2>&1 || ! grep -q '^# on-removal cut$' "$1" ||
    say "warning: the connections of backends that leave go on, because conntrack is not installed here: install the package conntrack"
}

# forget_clients: affinity forgets the clients of backends that left ($TMP/clients), who would be theirs again if they came
# back. (The rules pass over such entries.) One that ends within seconds is left to that: what is gone cannot be deleted,
# and takes the whole transaction with it. Never a reason to fail.
forget_clients() {
  [ -s "$TMP/clients" ] || return 0
  awk '!seen[$1, $2]++ { print $1, $2 }' "$TMP/clients" | while read -r clients_family clients_map; do
    for _ in 1 2 3; do
      nft list map "$clients_family" netfilter_lb "$clients_map" 2>/dev/null | awk -v family="$clients_family" -v map="$clients_map" '
        role == "left" { if ($1 == family && $2 == map) left[$3] = 1; next }
        !/ : 0x/ || / expires ([0-4]s|[0-9]+ms)/ { next }
        { sub(/^.*= \{/, ""); at = index($0, " timeout "); mark = substr($0, index($0, " : 0x") + 3, 10) }
        mark in left { keys = keys (keys == "" ? "" : ", ") substr($0, 1, at - 1); if (++count % 500 == 0) forget() }
        function forget() { if (keys != "") print "delete element " family " netfilter_lb " map " { " keys " }"; keys = "" }
        END { forget() }' role=left "$TMP/clients" role=map RS=, - >"$TMP/nft.clients"
      [ -s "$TMP/nft.clients" ] && ! nft -f "$TMP/nft.clients" >/dev/null 2>&1 || break
    done
  done
}
