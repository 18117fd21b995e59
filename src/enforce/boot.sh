#!/bin/sh
# Puts the rules in force before the agent runs: loads the static rulesets and the elements that the agent saved last, each
# as one transaction. Run it before forwarding starts (systemd: Before=network-pre.target; procd: before network), and with
# --replace after an upgrade. Needs nft and nothing of Node. With --remove it takes our tables out of the kernel, and nothing
# else: for who uninstalls, after the agent has ended.
#
# usage: boot.sh [--replace | --remove] [RULESET [ELEMENTS]]
#
# Beside the elements X.nft stands X-lists.nft, what lists hold. Beside X.nft stands X-bridge.nft, ruleset and elements of the family bridge. It is loaded where elements were saved for
# it; a kernel that doesn't take it has no bridge to filter, or can't, which is told and no failure.
#
# A table that stands is left alone without --replace: the agent keeps it. Elements that do not load whole (another
# version wrote them, the file is damaged) are tried line by line: a part is better than none. The agent that writes them
# has fewer rights than this script, so nft never sees a line that is not an addition to our own sets, letter by letter.
# Exit status: 0 in force (or removed), 3 in force in part, 1 not in force (or not removed).

mode=
case $1 in --replace | --remove) mode=$1 && shift ;; esac
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

# FAMILY ELEMENTS
additions() {
	LC_ALL=C grep -a -x -E "$(line_of "$1")" "$2"
}

line_of() {
	printf '%s' "add element $1 spin_usp [a-z0-9_]+ \{ $element(, $element)* \}"
}

stands() {
	$nft list set "$1" spin_usp version >/dev/null 2>&1
}

# Flows that begin before these settings are never counted, or never told of.
count_flows() {
	for setting in acct events timestamp; do
		file=/proc/sys/net/netfilter/nf_conntrack_$setting
		[ -w "$file" ] && echo 1 >"$file" 2>/dev/null
	done
	return 0
}

# FAMILY RULESET ELEMENTS; the status of the whole.
load() {
	family=$1 from=$2 saved=$3
	if [ ! -r "$from" ]; then
		say "$from is not there; no rule of it is in force"
		return 1
	fi
	if [ ! -e "$saved" ]; then
		# The first start: nothing was saved yet.
		$nft -f "$from"
		return
	fi
	result=0
	if [ ! -f "$saved" ]; then
		say "$saved is no file"
		result=3
		saved=/dev/null
	fi
	# Comments and empty lines are no loss.
	strange=$(LC_ALL=C grep -a -c -v -x -E "(#.*)?|$(line_of "$family")" "$saved")
	if [ "$strange" != 0 ]; then
		say "$saved: left out ${strange:-all} lines that the agent does not write"
		result=3
	fi
	{ cat "$from" && additions "$family" "$saved"; } | $nft -f - 2>/dev/null && return $result
	say "$saved does not load whole; trying it line by line"
	if ! $nft -f "$from"; then
		say "$from does not load; no rule of it is in force"
		return 1
	fi
	additions "$family" "$saved" | while IFS= read -r line; do
		printf '%s\n' "$line" | $nft -f - || say "left out: ${line%%\{*}"
	done
	return 3
}

# LISTS: what lists hold, in pieces, because nft takes much memory for many elements at once. A list that is not whole is
# not said to be there (list_places), so that the agent loads it anew.
load_lists() {
	additions inet "$1" | {
		failed='' piece='' lines=0
		while IFS= read -r line; do
			case $line in
			*' list_places '*)
				feed
				[ -n "$failed" ] || printf '%s\n' "$line" | $nft -f - || failed=1
				;;
			*)
				piece="$piece$line
"
				lines=$((lines + 1))
				[ $lines -lt 20 ] || feed
				;;
			esac
		done
		feed
		[ -z "$failed" ] || say "$1 does not load whole"
		[ -z "$failed" ]
	}
}

feed() {
	[ -z "$piece" ] || printf '%s' "$piece" | $nft -f - 2>/dev/null || failed=1
	piece='' lines=0
}

if [ "$mode" = --remove ]; then
	status=0
	for family in inet bridge; do
		! stands "$family" || $nft delete table "$family" spin_usp || status=1
	done
	exit $status
fi
status=0
if [ "$mode" = --replace ] || ! stands inet; then
	load inet "$ruleset" "$elements" || status=$?
	lists=${elements%.nft}-lists.nft
	if [ $status != 1 ] && [ -f "$lists" ]; then
		load_lists "$lists" || status=3
	fi
fi
[ $status = 1 ] || count_flows
bridge_elements=${elements%.nft}-bridge.nft
if [ -f "$bridge_elements" ] && additions bridge "$bridge_elements" >/dev/null; then
	if [ "$mode" = --replace ] || ! stands bridge; then
		load bridge "${ruleset%.nft}-bridge.nft" "$bridge_elements" || {
			[ $? = 3 ] && [ $status = 0 ] && status=3
		}
	fi
fi
exit $status
