# --------------------------------------------------------------------------------------------------------- command line

parse() {
  owner='' length='' sha256='' ssh='' version='' farm='' json='' uninstall='' confirm='' repair='' repair_every='' to='' plane='' lock_wish=''
  while [ $# -gt 0 ]; do
    case $1 in
      --json) json=1; shift; continue ;;
      --uninstall) uninstall=1; shift; continue ;;
      --owner | --length | --sha256 | --ssh | --version | --confirm | --within | --repair | --repair-every | --to | \
        --plane | --lock-forward)
        [ $# -gt 1 ] || fail 2 "$1 wants a value: see netfilter-lb help" ;;
      -*) fail 2 "unknown option $1: see netfilter-lb help" ;;
      *) [ -z "$farm" ] || fail 2 "one farm at a time, not \"$farm\" and \"$1\""; farm=$1; shift; continue ;;
    esac
    case $1 in
      --owner) owner=$2 ;; --length) length=$2 ;; --sha256) sha256=$2 ;; --ssh) ssh=$2 ;; --version) version=$2 ;;
      --confirm | --within) confirm=$2; [ -n "$confirm" ] || fail 2 "$1 wants a number of seconds" ;;
      --repair) repair=$2 ;; --repair-every) repair_every=$2 ;; --to) to=$2 ;;
      --plane) plane=$2 ;; --lock-forward) lock_wish=$2 ;;
    esac
    shift 2
  done
  # Patterns of the shell, not grep: a newline in a name cannot slip through, and nothing is started.
  case $farm in
    '') ;;
    [!A-Za-z]* | *[!A-Za-z0-9_-]* | *[_-] | *[_-][_-]*) bad_farm=1 ;;
  esac
  [ -z "${bad_farm:-}" ] && [ ${#farm} -le 63 ] ||
    fail 2 "\"$farm\" is no farm name: letters and digits, - or _ between them, a letter first, at most 63"
  is_owner "$owner"
  is_owner "$to"
  case $version in *[!0-9]*) fail 2 "--version wants a number, not \"$version\"" ;; esac
  case $confirm in *[!0-9]* | 0* | ?????*) fail 2 "a set is on trial for 1 to 9999 seconds, not \"$confirm\"" ;; esac
  case $plane in '' | nftables | iptables) ;; *) fail 2 "--plane is nftables or iptables, not \"$plane\"" ;; esac
  case $lock_wish in '' | on | off) ;; *) fail 2 "--lock-forward is on or off, not \"$lock_wish\"" ;; esac
  case $repair in *[!0-9a-f]*) fail 2 "--repair wants hex digits, not \"$repair\"" ;; esac
  case $repair_every in
    '') ;;
    *[!0-9]* | ?????*) fail 2 "--repair-every wants 2 to 3600 seconds, not \"$repair_every\"" ;;
    *) [ "$repair_every" -ge 2 ] && [ "$repair_every" -le 3600 ] || fail 2 "--repair-every wants 2 to 3600 seconds, not \"$repair_every\"" ;;
  esac
}

is_owner() {
  case $1 in
    '') ;;
    *[!A-Za-z0-9_.:@%/-]* | /* | */ | *//* | */*/*/*) bad_owner=1 ;;
    */*/*) ;;
    *) bad_owner=1 ;;
  esac
  [ -z "${bad_owner:-}" ] && [ ${#1} -le 250 ] ||
    fail 2 "\"$1\" is no owner: PROJECT/STACK/GATEWAY of letters, digits and _ . : @ % -, at most 250"
}

wants_farm() { [ -n "$farm" ] || fail 2 "which farm? See netfilter-lb help"; }
wants_owner() { [ -n "$owner" ] || fail 2 "--owner PROJECT/STACK/GATEWAY is missing: see netfilter-lb help"; }
wants_hash() {
  case $sha256 in *[!0-9a-f]*) sha256='' ;; esac
  [ ${#sha256} -eq 64 ] || fail 2 "--sha256 wants 64 hex digits"
}
wants_root() { [ -w /run ] || fail 1 "this needs root and a writable /run: run it by sudo"; }

main() {
  [ $# -gt 0 ] || { usage >&2; exit 2; }
  main_command=$1
  shift
  case $LOCK_WAIT in *[!0-9]* | 0?*) fail 2 "NETFILTER_LB_LOCK_WAIT wants a number of seconds, not \"$LOCK_WAIT\"" ;; esac
  parse "$@"
  case $main_command in
    help | --help | -h) usage; return ;;
    version | --version) say "netfilter-lb $VERSION protocol $PROTOCOL"; return ;;
    replaces) replaces; return ;;
    hand-over) wants_owner; [ -n "$to" ] || fail 2 "--to PROJECT/STACK/GATEWAY is missing: see netfilter-lb help"; main_command=hand_over ;;
    prepare | retire) wants_owner ;;
    remove | remove-group) wants_farm; wants_owner ;;
    apply | apply-group)
      wants_farm; wants_owner
      case "$main_command $confirm$repair" in
        apply-group*[0-9a-f]) fail 2 "a group goes without --confirm and --repair: see netfilter-lb help" ;;
      esac
      case $length in '' | *[!0-9]*) fail 2 "--length wants the number of bytes of the rule set, not \"$length\"" ;; esac
      wants_hash
      ;;
    confirm) wants_farm; wants_owner; wants_hash ;;
    watch) wants_farm ;;
    expire | restore | status | list | verify | repair) ;;
    *) fail 2 "unknown command \"$main_command\": see netfilter-lb help" ;;
  esac
  case $main_command in
    apply-group) main_command=apply_group ;;
    remove-group) main_command=remove_group ;;
  esac
  wants_root
  "command_$main_command"
}

main "$@"
