# --------------------------------------------------------------------------------------------------------------- status

# headers FARM ROSTER: one line a stored farm (all of them where FARM is empty): name, owner, data plane, when, services,
# short name, mark mask. Into ROSTER goes a line for each of its backends: farm, key, mark, role, share, family.
headers() {
  for header_file in "$FARMS"/${1:-*}.rules; do [ ! -f "$header_file" ] || echo "$header_file"; done | awk -v roster="$2" '
    { file = $0; services = ""; mask = "0xffffffff"
      while ((getline line < file) > 0 && line ~ /^#/) {
        split(line, w, " ")
        if (w[2] == "owner") owner = w[3]
        if (w[2] == "applied") when = w[3]
        if (w[2] == "farm") farm = w[3]
        if (w[2] == "short-name") short = w[3]
        if (w[2] == "data-plane") plane = substr(line, 14)
        if (w[2] == "service") services = services (services == "" ? "" : ",") w[3] " " w[4] " " w[5]
        if (w[2] == "mark-mask") mask = w[3]
        if (w[2] == "backend") print farm "\t" w[3] "\t" w[4] "\t" (line ~ / (drain|standby)$/ ? w[6] : "active") "\t" w[5] "\t" (w[3] ~ /:.*:/ ? "ip6" : "ip") > roster
      }
      close(file)
      print farm "\t" owner "\t" plane "\t" when "\t" services "\t" short "\t" mask }'
}

# counted: connections since the counters began, a line each: SHORT MARK COUNT, and one of mark 0 where there are counters. In
# nftables a set of the farm counts by mark; in iptables that rule of a backend does which only new connections meet.
counted() {
  awk -F '\t' '{ n = split($5, service, ",")
    for (i = 1; i <= n; i++) { line = $3 " " (service[i] ~ /:/ ? "ip6" : "ip") ($3 == "nftables" ? " " $6 : ""); if (!seen[line]++) print line } }' \
    "$TMP/headers" | sed 's/^iptables [a-z]*/iptables/' | sort -u | while read -r counted_plane counted_family counted_short; do
    case $counted_plane in
      iptables) "$(ipt "$counted_family" -save)" -c -t nat 2>/dev/null | awk "$AWK_LINES" ;;
      *) nft list set "$counted_family" netfilter_lb "$counted_short.counters" 2>/dev/null || : ;;
    esac
  done | kernel_text 2>/dev/null | awk '
    function count(mark,    short, packets) {
      short = substr($3, 6); sub(/\..*/, "", short); sub(/\/.*/, "", mark); split(substr($1, 2), packets, ":")
      print short, mark, packets[1]; print short, 0, 0
    }
    function object(name) { sub(/\..*/, "", name); return name }
    /^\tset / { print object($2), 0, 0 }
    /^add element / && match($0, / packets [0-9]+/) { print object($5), $7, substr($0, RSTART + 9, RLENGTH - 9) }
    $2 != "-A" || $3 !~ /^NFLB-/ || $3 ~ /^NFLB-[A-Z]+$/ { next }
    / -j CONNMARK --set-xmark / { count($NF) }
    / -m mark --mark .* -j DNAT / { for (i = 4; i < NF; i++) if ($i == "--mark") count($(i + 1)) }'
}

# measure: what each backend of $TMP/roster got, as $TMP/backends: FARM KEY MARK ROLE NUMERATOR DENOMINATOR CONNECTIONS SHARE
# LIVE PACKETS BYTES, with tabs; "-" where it is not known. A flow belongs to the farm whose service was dialled; as in the
# kernel's own limits one that waits for its end (TIME_WAIT) does not live any more.
measure() {
  : >"$TMP/tracked"
  acct=$(cat /proc/sys/net/netfilter/nf_conntrack_acct 2>/dev/null)
  if command -v conntrack >/dev/null 2>&1; then
    tracking=1
    [ ! -s "$TMP/roster" ] || for flow_family in ipv4 ipv6; do conntrack -L -f $flow_family 2>/dev/null; done >"$TMP/tracked"
  fi
  counted >"$TMP/counted"
  awk -v acct="${acct:-0}" -v tracking="${tracking:-}" "$AWK_SERVICE$AWK_MARK$AWK_FLOW"'
    role == "farm" {
      split($0, w, "\t"); short[w[1]] = w[6]; plane[w[1]] = w[3]; mask[w[1]] = number(w[7])
      n = split(w[5], service, ",")
      for (i = 1; i <= n; i++) {
        split(service[i], part, " ")
        if (part[2] == "all") whole[part[1]] = w[1]
        else if (part[3] ~ /-/) ranges[part[1], part[2]] = ranges[part[1], part[2]] " " part[3] " " w[1]
        else exact[part[1], part[2], part[3]] = w[1]
      }
      next
    }
    role == "count" { known[$1] = 1; connections[$1, number($2)] += $3; next }
    role == "flow" {
      parse_flow()
      farm = ""
      if ((flow_address, flow_protocol, flow_port) in exact) farm = exact[flow_address, flow_protocol, flow_port]
      else if (flow_address in whole) farm = whole[flow_address]
      else {
        n = split(ranges[flow_address, flow_protocol], list, " ")
        for (i = 1; i < n && farm == ""; i += 2) if (ports_meet(list[i], flow_port)) farm = list[i + 1]
      }
      if (farm == "") next
      mark = masked(flow_mark, mask[farm])
      if ($1 != "tcp" || $4 !~ /^(TIME_WAIT|CLOSE)$/) live[farm, mark]++
      packets[farm, mark] += flow_packets; bytes[farm, mark] += flow_bytes
      next
    }
    { backend[++backends] = $0; split($0, w, "\t"); total[w[1], w[6]] += connections[short[w[1]], number(w[3])] }
    END {
      for (i = 1; i <= backends; i++) {
        split(backend[i], w, "\t"); split(w[5], share, "/")
        id = w[1] SUBSEP number(w[3])
        got = connections[short[w[1]], number(w[3])]
        printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", w[1], w[2], w[3], w[4], share[1], share[2], (short[w[1]] in known ? sprintf("%.0f", got) : "-"), \
          (total[w[1], w[6]] ? sprintf("%.4f", got / total[w[1], w[6]]) : "-"), \
          (tracking ? live[id] + 0 : "-"), (tracking && acct ? sprintf("%.0f", packets[id]) : "-"), (tracking && acct ? sprintf("%.0f", bytes[id]) : "-")
      }
    }' role=farm "$TMP/headers" role=count "$TMP/counted" role=flow "$TMP/tracked" role=backend "$TMP/roster" >"$TMP/backends"
}

# tracking_room: says where connection tracking has no room left, or nearly so.
tracking_room() {
  room_taken=$(cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null) &&
    room_most=$(cat /proc/sys/net/netfilter/nf_conntrack_max 2>/dev/null) || return 0
  [ "$room_taken" -lt $((room_most * 9 / 10)) ] ||
    say "warning: connection tracking holds $room_taken of at most $room_most connections, and a new one is dropped where" \
      "there is no room: raise net.netfilter.nf_conntrack_max, or set limits"
}

command_list() { headers "" /dev/null | awk -F '\t' '{ print $1, $2, $3 }'; }

command_status() {
  begin
  lock "status"
  [ -z "$farm" ] || [ -f "$FARMS/$farm.rules" ] || fail 1 "farm $farm is not stored here: netfilter-lb list names those that are"
  : >"$TMP/drift"
  compare "$farm"
  case $? in 0) status_known=live ;; 1) status_known=drift ;; *) status_known=unknown ;; esac
  : >"$TMP/roster"
  headers "$farm" "$TMP/roster" >"$TMP/headers"
  measure
  { foreign_drops; trial_notes "$farm"; tracking_room; } >"$TMP/notes"
  if [ -n "$json" ]; then status_json; else status_table; fi
}

# status_state: awk that says live, drift or unknown for a farm: drift of the shared parts concerns them all.
AWK_STATE='
  FILENAME == drift { if (/^[-+]/) { who = $1; sub(/^[-+] /, "", who); drifted[who] = 1 } next }
  function state(farm) { return known == "unknown" ? "unknown" : (farm in drifted || "base" in drifted ? "drift" : "live") }
'

status_table() {
  awk -F '\t' -v known="$status_known" -v drift="$TMP/drift" "$AWK_STATE"'
    BEGIN { printf "%-20s %-30s %-17s %-8s %-20s %s\n", "FARM", "OWNER", "DATA PLANE", "STATE", "APPLIED", "SERVICES" }
    { printf "%-20s %-30s %-17s %-8s %-20s %s\n", $1, $2, $3, state($1), $4, $5 }' "$TMP/drift" "$TMP/headers"
  awk -F '\t' '
    function percent(share) { return sprintf("%.2f %%", 100 * share) }
    $1 != farm {
      farm = $1
      printf "\n%-32s %-8s %10s %10s %12s %8s %12s %15s\n", "BACKENDS OF " farm, "ROLE", "SHARE", "MEASURED", "CONNECTIONS", "LIVE", "PACKETS", "BYTES"
    }
    { printf "%-32s %-8s %10s %10s %12s %8s %12s %15s\n", $2, $4, percent($6 + 0 ? $5 / $6 : 0), ($8 == "-" ? "-" : percent($8)), $7, $9, $10, $11 }' "$TMP/backends"
  if [ ! -s "$TMP/backends" ]; then :
  elif [ -z "${tracking:-}" ]; then
    printf '\n%s\n' "live connections, packets and bytes are known where conntrack is installed: install the package conntrack"
  elif [ "$acct" != 1 ]; then
    printf '\n%s\n' "packets and bytes of connections that begin from then on are counted with: sysctl -w net.netfilter.nf_conntrack_acct=1"
  fi
  cat "$TMP/notes"
}

status_json() {
  for json_stack in "$STACKS"/*; do [ ! -f "$json_stack" ] || head -n 1 "$json_stack"; done >"$TMP/stacks"
  trial_facts >"$TMP/trials"
  awk -F '\t' -v known="$status_known" -v drift="$TMP/drift" -v protocol=$PROTOCOL -v stacks="$TMP/stacks" -v notes="$TMP/notes" \
    -v backends="$TMP/backends" -v trials="$TMP/trials" "$AWK_STATE"'
    function quote(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); gsub(/[\001-\037]/, " ", text); return "\"" text "\"" }
    function lines(file,    line, list) { while ((getline line < file) > 0) list = list (list == "" ? "" : ", ") quote(line); return "[" list "]" }
    function known_number(text) { return text == "-" ? "null" : text }
    BEGIN { printf "{\"protocol\": %d, \"stacks\": %s, \"farms\": [", protocol, lines(stacks) }
    FILENAME == trials { trial[$1] = "{\"secondsLeft\": " $2 "}"; next }
    FILENAME == backends {
      text = "{\"key\": " quote($2) ", \"mark\": " quote($3) ", \"role\": " quote($4) \
        ", \"shareWanted\": {\"numerator\": " $5 ", \"denominator\": " $6 "}, \"connections\": " known_number($7) ", \"shareMeasured\": " known_number($8) \
        ", \"live\": " known_number($9) ", \"packets\": " known_number($10) ", \"bytes\": " known_number($11) "}"
      of[$1] = of[$1] (of[$1] == "" ? "" : ", ") text
      next
    }
    {
      n = split($5, part, ","); list = ""
      for (i = 1; i <= n; i++) list = list (i > 1 ? ", " : "") quote(part[i])
      printf "%s{\"name\": %s, \"owner\": %s, \"dataPlane\": %s, \"state\": %s, \"applied\": %s, \"trial\": %s, \"services\": [%s], \"backends\": [%s]}", \
        (count++ ? ", " : ""), quote($1), quote($2), quote($3), quote(state($1)), quote($4), ($1 in trial ? trial[$1] : "null"), list, of[$1]
    }
    END { printf "], \"warnings\": %s}\n", lines(notes) }' "$TMP/drift" "$TMP/trials" "$TMP/backends" "$TMP/headers"
}
