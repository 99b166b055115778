# ----------------------------------------------------------------------------------------------------- services, in awk

# A service is "ADDRESS PROTOCOL PORT", as in the header. These find the one that an element or a rule belongs to, so
# that lines can go with their service when another farm takes it over.
AWK_SERVICE='
function element_service(map, key,    part, i) {
  split(key, part, / \. /)
  i = map ~ /^interface_/ ? 2 : 1
  return map ~ /addresses$/ ? part[i] " all -" : part[i] " " part[i + 1] " " part[i + 2]
}
function rule_service(    i, address, protocol, port, part) {
  protocol = "all"; port = "-"
  for (i = 3; i < NF; i++) {
    # What a helper expects has other ports than the service, which a comment names.
    if ($i == "--ctstatus" && $(i + 4) == "--comment") { split($(i + 5), part, "_"); return address " " part[1] " " part[2] }
    if ($i == "-d" || $i == "--ctorigdst" || $i == "--ctrepldst") { address = $(i + 1); sub(/\/(32|128)$/, "", address) }
    else if ($i == "-p") protocol = $(i + 1)
    else if ($i == "--dport" || $i == "--ctorigdstport") { port = $(i + 1); sub(/:/, "-", port) }
  }
  if (protocol != "all" && port == "-") port = "0-65535"
  return address " " protocol " " port
}
# "add element FAMILY netfilter_lb MAP { KEY : VERDICT }": sets key and verdict.
function parse_element(    text, at) {
  text = $0; sub(/^[^{]*\{ /, "", text); sub(/ }$/, "", text)
  at = index(text, " : ")
  key = at ? substr(text, 1, at - 1) : text
  verdict = at ? substr(text, at + 3) : ""
}
function first_port(port) { return port == "-" ? 0 : port + 0 }
function last_port(port) { return port == "-" ? 65535 : (port ~ /-/ ? substr(port, index(port, "-") + 1) + 0 : port + 0) }
function ports_meet(a, b) { return first_port(a) <= last_port(b) && first_port(b) <= last_port(a) }
function services_meet(a, b,    x, y) {
  split(a, x, " "); split(b, y, " ")
  return x[1] == y[1] && (x[2] == y[2] || x[2] == "all" || y[2] == "all") && ports_meet(x[3], y[3])
}
'

# Marks are compared in decimal: the header has "0x209", nft "0x00000209", conntrack "521". As text, because mawk makes
# 2.84617e+09 of a large number.
AWK_MARK='
function number(text,    i, sum) {
  if (text !~ /^0x/) return text
  if (!(text in number_of)) {
    for (i = 3; i <= length(text); i++) sum = 16 * sum + index("0123456789abcdef", substr(text, i, 1)) - 1
    number_of[text] = sprintf("%.0f", sum)
  }
  return number_of[text]
}
function masked(mark, mask,    bit, sum) {
  if (mask == "4294967295") return mark
  if (!((mark, mask) in masked_as)) {
    for (bit = 1; bit <= mask + 0; bit *= 2) if (int(mask / bit) % 2 && int(mark / bit) % 2) sum += bit
    masked_as[mark, mask] = sprintf("%.0f", sum)
  }
  return masked_as[mark, mask]
}
'

# A line of "conntrack -L": what was dialled, where the answers come from, and what was counted (both ways together).
AWK_FLOW='
function parse_flow(    i, at, name, value) {
  flow_address = flow_port = flow_reply = ""
  flow_mark = "0"; flow_packets = flow_bytes = 0
  for (i = 3; i <= NF; i++) {
    if (!(at = index($i, "="))) continue
    name = substr($i, 1, at - 1); value = substr($i, at + 1)
    if (name == "dst") { if (flow_address == "") flow_address = value }
    else if (name == "dport") { if (flow_port == "") flow_port = value }
    else if (name == "src") { if (flow_address != "") flow_reply = value }
    else if (name == "mark") flow_mark = value
    else if (name == "packets") flow_packets += value
    else if (name == "bytes") flow_bytes += value
  }
  flow_protocol = $1
  flow_family = flow_address ~ /:/ ? "ipv6" : "ipv4"
}
'
