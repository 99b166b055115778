# --------------------------------------------------------------------------------------------------- boot unit, stacks

# boot_unit: before network-pre.target, so that no packet is forwarded before its rules are there. That place is early
# boot, hence no default dependencies (they would make a circle with cloud-init and ifupdown). After whatever loads
# other rules, since the usual /etc/nftables.conf begins with "flush ruleset"; and again when one of those is restarted
# or reloaded.
boot_unit() {
  cat <<EOF
[Unit]
Description=Load-balancer farms of this gateway
Documentation=file:$STATE
DefaultDependencies=no
RequiresMountsFor=$STATE ${SELF%/*} /run
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After=local-fs.target systemd-modules-load.service systemd-sysctl.service
After=nftables.service netfilter-persistent.service iptables.service ip6tables.service ufw.service firewalld.service
PartOf=nftables.service netfilter-persistent.service iptables.service ip6tables.service ufw.service firewalld.service
ReloadPropagatedFrom=nftables.service netfilter-persistent.service firewalld.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$SELF restore
ExecReload=$SELF restore

[Install]
WantedBy=multi-user.target
EOF
}

install_unit() {
  if [ -d /etc/systemd ]; then
    boot_unit >"$TMP/unit"
    [ -d "${UNIT_LINK%/*}" ] || (umask 022 && mkdir -p "${UNIT_LINK%/*}") || fail 1 "cannot make ${UNIT_LINK%/*}: is /etc writable?"
    if ! cmp -s "$TMP/unit" "$UNIT" 2>/dev/null; then
      place "$UNIT" cat "$TMP/unit" && chmod 644 "$UNIT" || fail 1 "cannot write $UNIT: is /etc writable?"
      unit_new=1
    fi
    [ -L "$UNIT_LINK" ] || ln -s "$UNIT" "$UNIT_LINK" || fail 1 "cannot make the link $UNIT_LINK"
  fi
  if [ ! -d /run/systemd/system ]; then
    say "note: systemd does not run here: have your init system call \"$SELF restore\" at boot, before the network comes up"
  elif [ -n "${unit_new:-}" ]; then
    # It counts as started from now on, so that a restart of nftables.service brings the farms back. The lock that we
    # hold lets it wait; it then finds nothing to do.
    systemctl daemon-reload 9>&- 2>/dev/null && systemctl start --no-block "${UNIT##*/}" 9>&- 2>/dev/null || :
  fi
}

remove_unit() {
  [ -e "$UNIT" ] || [ -L "$UNIT_LINK" ] || return 0
  rm -f "$UNIT_LINK" "$UNIT"
  [ ! -d /run/systemd/system ] || { systemctl stop --no-block "${UNIT##*/}"; systemctl daemon-reload; } 9>&- 2>/dev/null || :
}

# stack_name PROJECT/STACK/GATEWAY: without a process, since every apply asks.
stack_name() { stack_rest=${1#*/}; echo "${1%%/*},${stack_rest%%/*},${stack_rest#*/}"; }
stack_file() { printf '%s/' "$STACKS"; stack_name "$1"; }
