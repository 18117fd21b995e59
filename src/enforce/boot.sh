#!/bin/sh
# Puts the rules in force before the agent runs: loads the static ruleset and the elements that the agent saved last, as
# one transaction. Run it before forwarding starts (systemd: Before=network-pre.target; procd: before network), and with
# --replace after an upgrade. Needs nft and nothing of Node.
#
# usage: boot.sh [--replace] [RULESET [ELEMENTS]]
#
# A table that stands is left alone without --replace: the agent keeps it. Elements that do not load whole (another
# version wrote them, the file is damaged) are tried line by line: a part is better than none. The agent that writes them
# has fewer rights than this script, so nft never sees a line that is not an addition to our own sets, letter by letter.
# Exit status: 0 in force, 3 in force in part, 1 not in force.

replace=
[ "$1" = --replace ] && { replace=1; shift; }
ruleset=${1:-/usr/share/spin-usp/spin.nft}
elements=${2:-/var/lib/spin-usp/rules.nft}
nft=${NFT:-nft}

say() {
	echo "spin-usp-boot: $*" >&2
}

# A number, an IPv4 or hardware or IPv6 address, or the name of an interface; never a word that nft would look up.
value='([0-9]+(\.[0-9]+)*|[0-9a-f]*:[0-9a-f:.]*|"[A-Za-z0-9_.:-]+")'
range="$value(-$value)?"
element="$range( \. $range)*( timeout [0-9]+ms)?( : $value)?"
line="add element inet spin_usp [a-z0-9_]+ \{ $element(, $element)* \}"

additions() {
	LC_ALL=C grep -a -x -E "$line" "$elements"
}

# Flows that begin before these settings are never counted, or never told of.
count_flows() {
	for setting in acct events timestamp; do
		file=/proc/sys/net/netfilter/nf_conntrack_$setting
		[ -w "$file" ] && echo 1 >"$file" 2>/dev/null
	done
	return 0
}

if [ -z "$replace" ] && $nft list set inet spin_usp version >/dev/null 2>&1; then
	count_flows
	exit 0
fi
if [ ! -r "$ruleset" ]; then
	say "$ruleset is not there; no rule is in force"
	exit 1
fi
if [ ! -e "$elements" ]; then
	# The first start: nothing was saved yet.
	$nft -f "$ruleset" || exit 1
	count_flows
	exit 0
fi
status=0
if [ ! -f "$elements" ]; then
	say "$elements is no file"
	status=3
	elements=/dev/null
fi
# Comments and empty lines are no loss.
strange=$(LC_ALL=C grep -a -c -v -x -E "(#.*)?|$line" "$elements")
if [ "$strange" != 0 ]; then
	say "$elements: left out ${strange:-all} lines that the agent does not write"
	status=3
fi
if { cat "$ruleset" && additions; } | $nft -f - 2>/dev/null; then
	count_flows
	exit $status
fi
say "$elements does not load whole; trying it line by line"
if ! $nft -f "$ruleset"; then
	say "$ruleset does not load; no rule is in force"
	exit 1
fi
count_flows
additions | while IFS= read -r line; do
	printf '%s\n' "$line" | $nft -f - || say "left out: ${line%%\{*}"
done
exit 3
