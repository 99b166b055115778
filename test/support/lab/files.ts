/**
 * A gateway's own files: what `/etc`, `/usr/local` and `/run` are on that gateway.
 *
 * They live in memory, in a mount namespace. `/etc` starts as a copy of the machine's, without what belongs to this
 * package or would make runs differ from machine to machine; `/usr/local` starts empty. Both outlast a reboot of the
 * gateway, `/run` does not.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface FilesOptions {
  readonly name: string;
  /** Commands that this gateway does not have, such as `nft`. */
  readonly hide: readonly string[];
  /** Have `systemctl`: our stand-in, since there is no init process to talk to. */
  readonly systemd: boolean;
  /** Which iptables the `iptables` command and its family are. */
  readonly iptables: "nft" | "legacy";
}

/** Shell lines for the holder of the disk, run once. */
export function diskSetup({ name, hide, systemd, iptables }: FilesOptions): string {
  return `
mount -t tmpfs -o mode=755 disk /mnt
mkdir /mnt/etc /mnt/local
cp -a /etc/. /mnt/etc
mount --bind /mnt/etc /etc
mkdir -p /mnt/local/bin /mnt/local/sbin /mnt/local/lib
mount --bind /mnt/local /usr/local
rm -rf /etc/netfilter-lb /etc/sysctl.d /etc/sysctl.conf /etc/systemd /etc/ssh
mkdir -p /etc/sysctl.d /etc/systemd/system /etc/ssh
echo ${name} >/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 ${name}\\n::1 localhost\\n' >/etc/hosts
for command in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  real=/usr/sbin/$(echo $command | sed 's/tables/tables-${iptables}/')
  test ! -e $real || ln -sf $real /etc/alternatives/$command
done
${systemd ? `cat >/usr/local/bin/systemctl <<'EOF'\n${systemctl()}EOF\nchmod 755 /usr/local/bin/systemctl` : ""}
${hide.length > 0 ? hideCommands(hide) : ""}
umount -l /mnt
`;
}

function systemctl(): string {
  return readFileSync(join(__dirname, "systemctl.sh"), "utf8");
}

/**
 * A hidden command is really absent, not just refused: its folder is replaced by links to everything else in it.
 */
function hideCommands(hide: readonly string[]): string {
  return `
mkdir /mnt/links
for folder in bin sbin; do
  mkdir /mnt/links/$folder /usr/local/lib/real-$folder
  mount --bind /usr/$folder /usr/local/lib/real-$folder
  ln -s /usr/local/lib/real-$folder/* /mnt/links/$folder
  (cd /mnt/links/$folder && rm -f ${hide.join(" ")})
  mount --bind /mnt/links/$folder /usr/$folder
done
`;
}

/** Shell lines for the holder that is the gateway's kernel and processes, run at every boot. */
export function bootSetup(name: string, systemd: boolean): string {
  return `
mount -t proc proc /proc
mount -t sysfs -o ro sys /sys
echo ${name} >/proc/sys/kernel/hostname
for entry in /proc/sys/*; do
  test $entry = /proc/sys/net || { mount --bind $entry $entry && mount -o remount,ro,bind $entry; }
done
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock /run/sshd${systemd ? " /run/systemd/system" : ""}
${networkSetup}`;
}

/**
 * What every network namespace of the lab starts with. Duplicate address detection would hold back an IPv6 address
 * for a second; forwarding and reverse path filters would be the machine's, which may differ.
 */
export const networkSetup = `
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_forward
cd /proc/sys/net/ipv4/conf; echo 0 >all/rp_filter; echo 0 >default/rp_filter; cd /
cd /proc/sys/net/ipv6/conf
echo 0 >all/disable_ipv6; echo 0 >default/disable_ipv6; echo 0 >default/accept_dad; echo 0 >default/accept_ra; echo 0 >all/forwarding
cd /
`;

/** For the ends of the lab, which open tens of thousands of connections. */
export const trafficSetup = `
${networkSetup}
echo "1024 65535" >/proc/sys/net/ipv4/ip_local_port_range
echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind
`;
