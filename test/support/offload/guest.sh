#!/bin/sh
# Runs as the first process of a virtual machine with a stock kernel: a home of one device, a gateway whose firewall
# offloads flows to a flowtable as firewall4 does, and an Internet; the agent on the gateway. Prints lines `SEEN name value`
# for offload.test.ts and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /run /tmp /var/lib /etc/spin
mount -t tmpfs run /run
trap 'poweroff -f' EXIT

# Busybox's shell would take its own.
ip() {
	/usr/sbin/ip "$@"
}

seen() {
	echo "SEEN $*"
}

for module in veth bridge nf_conntrack_netlink nfnetlink_log nfnetlink_queue nft_ct nft_masq nft_chain_nat nft_log \
	nft_reject_inet nft_queue nf_flow_table_inet nft_flow_offload; do
	modprobe $module || seen missing $module
done
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
for name in client server; do
	ip netns add $name
	ip -n $name link set lo up
done
ip link add br-lan address 02:aa:00:00:ff:01 type bridge
ip link add lan1 type veth peer name lan netns client address 02:aa:00:00:00:01
ip link add wan type veth peer name isp netns server
ip link set lan1 master br-lan
for link in lo br-lan lan1 wan; do ip link set $link up; done
ip -n client link set lan up
ip -n server link set isp up
ip address add 192.168.77.1/24 dev br-lan
ip address add 2001:db8:1::1/64 dev br-lan
ip address add 203.0.113.2/30 dev wan
ip address add 2001:db8:ff::2/64 dev wan
ip -n client address add 192.168.77.11/24 dev lan
ip -n client address add 2001:db8:1::11/64 dev lan
ip -n client route add default via 192.168.77.1
ip -n client route add default via 2001:db8:1::1
ip -n server address add 203.0.113.1/30 dev isp
ip -n server address add 2001:db8:ff::1/64 dev isp
ip -n server address add 198.51.100.10/32 dev lo
ip -n server address add 2001:db8:100::10/128 dev lo
ip -n server route add 2001:db8:1::/64 via 2001:db8:ff::2
ip route add default via 203.0.113.1
ip route add default via 2001:db8:ff::1
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
nft -f - <<-RULES || seen failed firewall
	table inet fw4 {
	  flowtable ft { hook ingress priority 0; devices = { lan1, wan }; counter; }
	  chain forward { type filter hook forward priority filter; policy drop;
	    counter name slow
	    meta l4proto { tcp, udp } flow offload @ft
	    ct state established,related accept
	    iifname "br-lan" oifname "wan" accept
	  }
	  counter slow { }
	  chain srcnat { type nat hook postrouting priority srcnat; oifname "wan" meta nfproto ipv4 masquerade; }
	}
RULES
ip netns exec server nft -f - <<-RULES || seen failed arrivals
	table inet arrivals {
	  counter arrived_tcp { }
	  counter arrived_udp { }
	  chain in { type filter hook prerouting priority -300; iifname "isp" meta l4proto tcp counter name arrived_tcp
	    iifname "isp" meta l4proto udp counter name arrived_udp
	  }
	}
RULES
ip netns exec server /spin/traffic serve >/dev/null &
sleep 1

cat >/etc/spin/spin-usp.conf <<-CONF
	config agent
	  option endpoint_id 'os::02AA00-HOME0001'
	  option oui '02AA00'
	  option serial_number 'HOME0001'
	  option state_dir '/var/lib/spin-usp'
	config capture
	  list interface 'br-lan'
	  option counter_interval '1'
	config socket 'resident'
	  option role 'Resident'
	  option path '/run/resident.sock'
CONF
mkdir -p /var/lib/spin-usp
node=$(command -v node)
$node /spin/dist/spin-usp.cjs run --config /etc/spin/spin-usp.conf >/run/agent.log 2>&1 &
ctl() {
	$node /spin/bin/spin-usp ctl "$@" --socket /run/resident.sock --timeout 60s
}
get() {
	ctl get "$1" 2>&1 | sed -n 's/.* = //p' | tail -n 1
}
await() { # seconds, a word, a command
	i=0
	while [ $i -lt "$1" ]; do
		case "$(shift && shift && "$@")" in *$2*) return 0 ;; esac
		i=$((i + 1))
		sleep 1
	done
	return 1
}
arrived() {
	ip netns exec server nft list counter inet arrivals "arrived_$1" | sed -n 's/.*packets \([0-9]*\).*/\1/p'
}
slow() {
	nft list counter inet fw4 slow | sed -n 's/.*packets \([0-9]*\).*/\1/p'
}
# What came of TCP (IPv4) and UDP (IPv6) in two seconds, and what of it the forward hook saw.
flowing() {
	tcp=$(arrived tcp) udp=$(arrived udp) hook=$(slow)
	sleep 2
	seen "$1" $(($(arrived tcp) - tcp)) $(($(arrived udp) - udp)) $(($(slow) - hook))
}

await 60 Running get Device.X_SPIN.Status || {
	cat /run/agent.log
	seen failed "the agent does not run"
}
ip netns exec client /spin/traffic stream tcp 198.51.100.10 10 600 >/dev/null &
ip netns exec client /spin/traffic stream udp 2001:db8:100::10 10 600 >/dev/null &
await 20 OFFLOAD conntrack -L 2>/dev/null || seen failed "nothing is offloaded"
await 20 OFFLOAD conntrack -L -f ipv6 2>/dev/null || seen failed "nothing of IPv6 is offloaded"
seen entries "$(conntrack -L 2>/dev/null | grep -c OFFLOAD)" "$(conntrack -L -f ipv6 2>/dev/null | grep -c OFFLOAD)"
flowing offloaded
await 30 Partial get Device.X_SPIN.CounterAccuracy
seen accuracy "$(get Device.X_SPIN.CounterAccuracy)"
before=$(get 'Device.X_SPIN.Device.*.Stats.PacketsSent')
sleep 5
seen counted $(($(get 'Device.X_SPIN.Device.*.Stats.PacketsSent') - before))
# What a drop in a forward chain alone does: nothing.
nft 'add table inet alone; add chain inet alone f { type filter hook forward priority -20; }; add rule inet alone f drop'
flowing dropped-in-forward
nft delete table inet alone
ctl block 02:AA:00:00:00:01 || seen failed "ctl block"
flowing blocked
seen entries-after "$(conntrack -L 2>/dev/null | grep -c OFFLOAD)" "$(conntrack -L -f ipv6 2>/dev/null | grep -c OFFLOAD)"
seen bridge-table "$(nft list tables | grep -c 'bridge spin_usp')"
grep -E '<[0-4]>' /run/agent.log
seen end
