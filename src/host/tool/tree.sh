# -------------------------------------------------------------------------------------------- iptables' chains, as trees

# A packet walks a shared chain of iptables from its first line, and those of mangle and filter every packet does. So one of more than
# $WALK lines becomes a tree: it sorts packets by address and then by port, two bits at a time, into chains NFLB-PREROUTING.1, .2 …,
# which hold the lines that such a packet can match. Lines that one packet can match belong to one service, so they stay together and keep
# their order; what none matches comes to the end of the shared chain from wherever it is.
WALK=8

# In awk: grow(CHAIN, COUNT) makes a tree of the lines row[1] … row[COUNT]: grown[1] … grown[growns], and trees, the number of its
# chains.
AWK_TREE='
# A number, or an address, in digits of two bits; and a number again.
function digits(number, count,    text) {
  for (; count > 0; count--) { text = number % 4 text; number = int(number / 4) }
  return text
}
function value_of(text,    i, sum) {
  for (i = 1; i <= length(text); i++) sum = 4 * sum + substr(text, i, 1)
  return sum + 0
}
function hex(text,    i, sum) {
  for (i = 1; i <= length(text); i++) sum = 16 * sum + index("0123456789abcdef", substr(text, i, 1)) - 1
  return sum + 0
}
function address_digits(address,    part, n, at, i, text) {
  if (address !~ /:/) {
    n = split(address, part, ".")
    for (i = 1; i <= n; i++) text = text digits(part[i], 4)
    return text
  }
  if (at = index(address, "::")) {
    n = split(address, part, /:+/)
    for (i = n - (part[1] == "") - (part[n] == ""); i < 8; i++) text = text ":0"
    address = substr(address, 1, at - 1) text substr(address, at + 1)
    gsub(/^:|:$/, "", address)
    text = ""
  }
  n = split(address, part, ":")
  for (i = 1; i <= n; i++) text = text digits(hex(part[i]), 8)
  return text
}
function filled_up(start, digit, wide) { while (length(start) < wide) start = start digit; return start }
# The network of the addresses that begin so.
function network(start, wide,    length_of, text, i) {
  length_of = 2 * length(start)
  start = filled_up(start, 0, wide)
  for (i = 1; i <= wide; i += wide == 16 ? 4 : 8)
    text = text (wide == 16 ? "." value_of(substr(start, i, 4)) : sprintf(":%x", value_of(substr(start, i, 8))))
  return substr(text, 2) "/" length_of
}
# By what a line is found: an option that asks for an address, that address, and the one port of a protocol, where it has one.
function learn(line,    w, n, i, port) {
  found_by[line] = ""
  n = split(line, w, " ")
  for (i = 3; i < n; i++) {
    # What a helper expects has other ports than its service.
    if (w[i] == "--ctstatus") { found_by[line] = ""; return }
    if (w[i] == "-d" || w[i] == "--ctorigdst") { found_by[line] = w[i]; found_at[line] = w[i + 1]; sub(/\/.*/, "", found_at[line]) }
    else if (w[i] == "-p") found_for[line] = w[i + 1]
    else if (w[i] == "--dport" || w[i] == "--ctorigdstport") port = w[i + 1]
  }
  if (port ~ /^[0-9]+$/) port_digits[line] = digits(port, 8)
  if (!(found_at[line] in digits_of)) digits_of[found_at[line]] = address_digits(found_at[line])
}
function way(i, by_port) { return by_port ? port_digits[row[i]] : digits_of[found_at[row[i]]] }
# How many digits the ways of all lines of a list have in common.
function common(list, by_port,    at, n, i, first, same) {
  n = split(list, at, " ")
  first = way(at[1], by_port); same = length(first)
  for (i = 2; i <= n; i++) while (substr(first, 1, same) != substr(way(at[i], by_port), 1, same)) same--
  return same
}
function put(chain, line) { sub(/^-A [^ ]+/, "-A " chain, line); grown[++growns] = line }
function put_all(chain, list,    at, n, i) { n = split(list, at, " "); for (i = 1; i <= n; i++) put(chain, row[at[i]]) }
# The lines of a list go by the digit behind what they have in common, to a chain each; two do not need one.
function branch(root, chain, list, same, by_port,    at, n, i, digit, part, to) {
  n = split(list, at, " ")
  for (i = 1; i <= n; i++) { digit = substr(way(at[i], by_port), same + 1, 1); part[digit] = part[digit] " " at[i] }
  for (digit = 0; digit < 4; digit++) {
    n = split(part[digit], at, " ")
    if (n <= 2) { put_all(chain, part[digit]); continue }
    to = root "." ++trees
    put(chain, "-A - " fork(row[at[1]], substr(way(at[1], by_port), 1, same + 1), by_port) " -g " to)
    if (by_port) sort_ports(root, to, part[digit]); else sort_addresses(root, to, part[digit])
  }
}
function fork(line, start, by_port,    by, to) {
  by = found_by[line]; to = found_at[line]
  if (!by_port) return (by == "-d" ? "" : "-m conntrack ") by " " network(start, length(digits_of[to]))
  return (by == "-d" ? "-d " to " -p " found_for[line] " -m " found_for[line] " --dport " : \
    "-p " found_for[line] " -m conntrack --ctorigdst " to " --ctorigdstport ") \
    value_of(filled_up(start, 0, 8)) ":" value_of(filled_up(start, 3, 8))
}
function sort_addresses(root, chain, list,    at, n, i, same, one_port, protocol) {
  n = split(list, at, " ")
  if (n <= WALK) { put_all(chain, list); return }
  same = common(list, 0)
  if (same < length(way(at[1], 0))) { branch(root, chain, list, same, 0); return }
  for (i = 1; i <= n; i++)
    if (!(row[at[i]] in port_digits)) put(chain, row[at[i]])
    else one_port[found_for[row[at[i]]]] = one_port[found_for[row[at[i]]]] " " at[i]
  n = split("tcp udp sctp", protocol, " ")
  for (i = 1; i <= n; i++) sort_ports(root, chain, one_port[protocol[i]])
}
function sort_ports(root, chain, list,    at, same) {
  same = 8
  if (split(list, at, " ") > WALK) same = common(list, 1)
  if (same < 8) branch(root, chain, list, same, 1); else put_all(chain, list)
}
function grow(chain, count,    i, line, list) {
  growns = trees = 0
  for (i = 1; i <= count; i++) {
    line = row[i]
    if (count > WALK && !(line in found_by)) learn(line)
    if (count <= WALK || found_by[line] == "") put(chain, line)
    else list[found_by[line]] = list[found_by[line]] " " i
  }
  sort_addresses(chain, chain, list["-d"])
  sort_addresses(chain, chain, list["--ctorigdst"])
}
'
