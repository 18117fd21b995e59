/**
 * How the test home is wired, as the text that `ip`, `nft` and `dnsmasq` take. Pure: home.ts runs it.
 *
 *   lan1 … lanN ── br-lan [gateway] wan ── isp [internet: every address of its ranges answers]
 *
 * The gateway masquerades IPv4 and routes IPv6; its firewall is one like firewall4's, with an established-accept, so
 * that a block which comes too late shows.
 */
export const LAN4 = "192.168.77";
export const LAN6 = "2001:db8:1::";
export const GATEWAY4 = `${LAN4}.1`;
export const GATEWAY6 = `${LAN6}1`;
export const WAN4 = "203.0.113.2";
export const WAN6 = "2001:db8:ff::2";
/** The Internet's own resolver, which the gateway's forwards to. */
export const RESOLVER4 = "198.51.100.53";
export const RESOLVER6 = "2001:db8:100::53";
/** Where the MQTT broker answers, on port 1883. */
export const BROKER4 = "198.51.100.250";
export const INTERNET4 = ["198.51.100.0/24", "198.18.0.0/16"];
export const INTERNET6 = "2001:db8:100::/48";
export const FRESH_NAMES = 1000;
export const LOAD_NAMES = 2000;

export interface DevicePlan {
  readonly index: number;
  readonly namespace: string;
  /** Upper-case, as the data model writes it. */
  readonly mac: string;
  readonly ipv4: string;
  /** From the MAC, as SLAAC makes it (RFC 4291 appendix A). */
  readonly ipv6: string;
}

export function devicePlan(group: string, index: number): DevicePlan {
  const low = index.toString(16).padStart(2, "0");
  return {
    index,
    namespace: `${group}-lan${index}`,
    mac: `02:AA:00:00:00:${low.toUpperCase()}`,
    ipv4: `${LAN4}.${10 + index}`,
    ipv6: `2001:db8:1:0:aa:ff:fe00:${index.toString(16)}`,
  };
}

/** Settings that must stand before the first link: no duplicate detection, so that addresses work at once. */
const SYSCTL_ALL = { "net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0 };
export const SYSCTL = {
  device: { ...SYSCTL_ALL, "net.ipv6.conf.default.accept_ra": 0 },
  internet: { ...SYSCTL_ALL, "net.ipv6.ip_nonlocal_bind": 1, "net.ipv6.conf.all.forwarding": 1 },
  gateway: {
    ...SYSCTL_ALL,
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.send_redirects": 0,
    "net.bridge.bridge-nf-call-iptables": 0,
    "net.bridge.bridge-nf-call-ip6tables": 0,
  },
};

/** TCP then makes packets that fit the wire, already where the device's own counters see them. */
const WIRE_SIZED = "link set dev DEVICE gso_max_segs 1";

/** Batches for `ip -batch`, by namespace; the first makes the links. */
export function links(gateway: string, internet: string, devices: readonly DevicePlan[]): string {
  const lines = [
    `link add br-lan netns ${gateway} address 02:aa:00:00:ff:01 type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `link add wan netns ${gateway} address 02:aa:00:00:fe:01 type veth peer name isp netns ${internet} address 02:aa:00:00:fe:02`,
  ];
  for (const device of devices) lines.push(deviceLink(gateway, device));
  return lines.join("\n");
}

export function deviceLink(gateway: string, device: DevicePlan): string {
  return `link add port${device.index} netns ${gateway} type veth peer name lan netns ${device.namespace} address ${device.mac}`;
}

export function gatewayBatch(devices: readonly DevicePlan[]): string {
  return [
    "link set lo up",
    "link set br-lan up",
    ...devices.flatMap((device) => portLines(device)),
    "link set wan up",
    `address add ${GATEWAY4}/24 dev br-lan`,
    `address add ${GATEWAY6}/64 dev br-lan`,
    `address add ${WAN4}/30 dev wan`,
    `address add ${WAN6}/64 dev wan`,
    "route add default via 203.0.113.1",
    "route add default via 2001:db8:ff::1",
  ].join("\n");
}

export function portLines(device: DevicePlan): string[] {
  return [`link set port${device.index} master br-lan`, `link set port${device.index} up`];
}

export function internetBatch(): string {
  return [
    "link set lo up",
    WIRE_SIZED.replace("DEVICE", "isp"),
    "link set isp up",
    "address add 203.0.113.1/30 dev isp",
    "address add 2001:db8:ff::1/64 dev isp",
    `address add ${RESOLVER4}/32 dev lo`,
    `address add ${RESOLVER6}/128 dev lo`,
    ...INTERNET4.map((range) => `route add local ${range} dev lo`),
    `route add local ${INTERNET6} dev lo`,
    `route add 2001:db8:1::/64 via ${WAN6}`,
  ].join("\n");
}

export function deviceBatch(device: Pick<DevicePlan, "ipv4" | "ipv6">): string {
  return [
    "link set lo up",
    WIRE_SIZED.replace("DEVICE", "lan"),
    "link set lan up",
    `address add ${device.ipv4}/24 dev lan`,
    `address add ${device.ipv6}/64 dev lan`,
    `route add default via ${GATEWAY4}`,
    `route add default via ${GATEWAY6}`,
  ].join("\n");
}

/** The gateway's firewall, as a firewall4 with its defaults would have it. */
export const FIREWALL = `
table inet fw4 {
  chain input { type filter hook input priority filter; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto { icmp, ipv6-icmp } accept
    iifname "wan" drop
  }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "br-lan" oifname "wan" accept
    iifname "wan" ct status dnat accept
  }
  chain srcnat { type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" meta nfproto ipv4 masquerade
  }
}
`;

/**
 * What a device itself sent and got, by peer and protocol: the independent measure. The length at these hooks is that of
 * the IP packet, which is what conntrack counts too.
 */
export const MEASURE = `
table inet measure {
  set sent4 { type ipv4_addr . inet_proto; size 65536; flags dynamic; counter; }
  set got4 { type ipv4_addr . inet_proto; size 65536; flags dynamic; counter; }
  set sent6 { type ipv6_addr . inet_proto; size 65536; flags dynamic; counter; }
  set got6 { type ipv6_addr . inet_proto; size 65536; flags dynamic; counter; }
  chain output { type filter hook output priority 300; policy accept;
    oifname "lan" update @sent4 { ip daddr . meta l4proto }
    oifname "lan" update @sent6 { ip6 daddr . meta l4proto }
  }
  chain input { type filter hook input priority -300; policy accept;
    iifname "lan" update @got4 { ip saddr . meta l4proto }
    iifname "lan" update @got6 { ip6 saddr . meta l4proto }
  }
}
`;

/** What reached an address of the Internet: whatever a block let through shows here. */
export const ARRIVALS = `
table inet arrivals {
  set arrived4 { type ipv4_addr . inet_proto; size 65536; flags dynamic; counter; }
  set arrived6 { type ipv6_addr . inet_proto; size 65536; flags dynamic; counter; }
  chain input { type filter hook prerouting priority -300; policy accept;
    iifname "isp" update @arrived4 { ip daddr . meta l4proto }
    iifname "isp" update @arrived6 { ip6 daddr . meta l4proto }
  }
}
`;

/** A dead line: what comes to the Internet vanishes. */
export const CUT = `
table inet cut {
  chain lost { type filter hook prerouting priority -400; policy accept;
    iifname "isp" drop
  }
}
`;

/** The Internet's names. TTL in seconds. */
export function internetNames(extra: readonly string[], ttl: number): string {
  // Two records of one name: an answer of 1.4 kB, and no line of more than dnsmasq's 1,024 characters.
  const text = (letter: string) => [1, 2, 3].map(() => letter.repeat(230)).join(",");
  const lines = [
    "no-resolv",
    "no-hosts",
    "bind-interfaces",
    "no-daemon",
    "user=root",
    "cache-size=0",
    `listen-address=${RESOLVER4},${RESOLVER6}`,
    `local-ttl=${ttl}`,
    "local=/example/",
    "host-record=www.example,198.51.100.10,2001:db8:100::10",
    "host-record=edge.cdn.example,198.51.100.11,2001:db8:100::11",
    "cname=shop.example,edge.cdn.example",
    "host-record=short.example,198.51.100.12,2001:db8:100::12,2",
    "host-record=other.example,198.51.100.13,2001:db8:100::13",
    `host-record=rebind.example,${GATEWAY4}`,
    "address=/wild.example/198.51.100.20",
    "address=/wild.example/2001:db8:100::20",
    `txt-record=long.example,${text("x")}`,
    `txt-record=long.example,${text("y")}`,
    ...extra,
  ];
  for (let i = 0; i < FRESH_NAMES; i++)
    lines.push(
      `host-record=n${i}.fresh.example,198.18.${100 + (i >> 8)}.${i & 255},2001:db8:100:f::${(i + 1).toString(16)}`,
    );
  for (let i = 0; i < LOAD_NAMES; i++) lines.push(`host-record=h${i}.load.example,198.18.${120 + (i >> 8)}.${i & 255}`);
  return `${lines.join("\n")}\n`;
}

/** The gateway's resolver, as OpenWrt runs one. */
export function gatewayNames(): string {
  return [
    "no-resolv",
    "no-hosts",
    "bind-interfaces",
    "no-daemon",
    "user=root",
    "cache-size=1000",
    `listen-address=${GATEWAY4},${GATEWAY6}`,
    `server=${RESOLVER4}`,
    "",
  ].join("\n");
}

export function brokerConfig(folder: string, port: number): string {
  return [
    `listener ${port} 0.0.0.0`,
    // The controller of a test is not in the Internet's namespace; a socket file is in all of them.
    `listener 0 ${folder}/broker.sock`,
    "allow_anonymous true",
    "set_tcp_nodelay true",
    "persistence false",
    "max_queued_messages 100000",
    "log_dest stderr",
    "user root",
    "",
  ].join("\n");
}
