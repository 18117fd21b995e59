/* What the kernel tells: subscriptions, and dumps. Its messages pass as they are. */
#define _GNU_SOURCE
#include "helper.h"

#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/rtnetlink.h>

/* Messages taken from one socket before the others get their turn. */
#define TURN 4096
/* Readings in a row that need no pause between: a rare event goes out at once, a stream of them at intervals. */
#define BURST 8

struct subscription subscriptions[SUBSCRIPTIONS];
struct dump dumps[DUMPS];

static int join(int fd, int group)
{
	return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
}

int add_subscription(uint32_t kind, uint32_t request, int fd, uint32_t pause)
{
	for (int i = 0; i < SUBSCRIPTIONS; i++) {
		if (subscriptions[i].fd >= 0) continue;
		subscriptions[i] = (struct subscription){ .fd = fd, .kind = kind, .request = request, .pause = pause };
		return 0;
	}
	close(fd);
	refuse(request, "too many subscriptions");
	return -1;
}

/* Ends a subscription; what it still had to tell is not told. */
void forget(uint32_t subscription)
{
	for (int i = 0; i < SUBSCRIPTIONS; i++) {
		if (subscriptions[i].fd < 0 || subscriptions[i].request != subscription) continue;
		if (subscriptions[i].kind == HOLD) end_hold(&subscriptions[i]);
		close(subscriptions[i].fd);
		subscriptions[i].fd = -1;
	}
}

/* A subscription to `groups`; 0, or -1 after the refusal has been sent. */
static int subscribe(uint32_t kind, uint32_t request, int protocol, uint32_t bytes, uint32_t pause, const int *groups)
{
	int on = 1, fd = open_netlink(protocol, bytes);
	if (fd < 0) {
		send_result(request, errno, NO_INDEX, 0, "socket");
		return -1;
	}
	/* The kernel then keeps a DESTROY that found no room and delivers it later. */
	if (kind == CONNTRACK || kind == CONNTRACK_ENDS)
		setsockopt(fd, SOL_NETLINK, NETLINK_BROADCAST_ERROR, &on, sizeof on);
	for (; *groups; groups++) {
		if (join(fd, *groups) == 0) continue;
		send_result(request, errno, NO_INDEX, 0, "multicast group");
		close(fd);
		return -1;
	}
	return add_subscription(kind, request, fd, pause);
}

/*
 * Beginnings and ends come through a socket each: the kernel ends flows by the hundred thousand at once, which would
 * crowd out the beginnings, and ends are delivered again where beginnings are not.
 */
void subscribe_conntrack(uint32_t request, uint32_t pause, uint32_t bytes)
{
	static const int begins[] = { NFNLGRP_CONNTRACK_NEW, 0 }, ends[] = { NFNLGRP_CONNTRACK_DESTROY, 0 };
	if (subscribe(CONNTRACK, request, NETLINK_NETFILTER, bytes, pause, begins) < 0) return;
	if (subscribe(CONNTRACK_ENDS, request, NETLINK_NETFILTER, bytes, pause, ends) < 0) forget(request);
	else send_result(request, 0, NO_INDEX, 0, "");
}

void subscribe_one(uint32_t kind, uint32_t request, int protocol, uint32_t bytes, uint32_t pause, const int *groups)
{
	if (subscribe(kind, request, protocol, bytes, pause, groups) == 0) send_result(request, 0, NO_INDEX, 0, "");
}

void subscribe_log(uint32_t request, uint32_t group, uint32_t snap, uint32_t threshold, uint32_t pause)
{
	uint32_t buffer[64] = { 0 }, index = NO_INDEX, none = 0;
	struct nlmsghdr *h = (struct nlmsghdr *)buffer;
	struct nfgenmsg *g = NLMSG_DATA(h);
	struct nfulnl_msg_config_cmd bind_command = { .command = NFULNL_CFG_CMD_BIND };
	struct nfulnl_msg_config_mode mode = { .copy_range = be32(snap), .copy_mode = NFULNL_COPY_PACKET };
	uint32_t queue = be32(threshold), centiseconds = be32(1), kernel_buffer = be32(RECV_SIZE / 2);
	char text[200] = "";
	int fd, error;
	if (group > 0xffff || snap > 0xffff || threshold == 0 || threshold > 1024) {
		refuse(request, "group, snap length or threshold out of range");
		return;
	}
	fd = open_netlink(NETLINK_NETFILTER, 4 << 20);
	if (fd < 0) {
		send_result(request, errno, NO_INDEX, 0, "socket");
		return;
	}
	h->nlmsg_len = NLMSG_LENGTH(sizeof *g);
	h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	g->nfgen_family = AF_UNSPEC;
	g->res_id = be16((uint16_t)group);
	put_attribute(h, NFULA_CFG_CMD, &bind_command, sizeof bind_command);
	put_attribute(h, NFULA_CFG_MODE, &mode, sizeof mode);
	put_attribute(h, NFULA_CFG_NLBUFSIZ, &kernel_buffer, 4);
	put_attribute(h, NFULA_CFG_TIMEOUT, &centiseconds, 4);
	put_attribute(h, NFULA_CFG_QTHRESH, &queue, 4);
	error = send_netlink(fd, h, h->nlmsg_len) < 0 ? errno : collect_errors(fd, 0, 0, &none, &index, text, sizeof text);
	if (error) {
		close(fd);
		/* The kernel says EPERM when somebody else has the group. */
		send_result(request, error, NO_INDEX, 0, text[0] ? text : "NFLOG group");
		return;
	}
	if (add_subscription(PACKET_LOG, request, fd, pause) == 0) send_result(request, 0, NO_INDEX, 0, "");
}

/* Whether a ruleset event tells that somebody else changed one of our tables. */
static int foreign_change(const struct nlmsghdr *h)
{
	uint32_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || h->nlmsg_pid == transact_port) return 0;
	for (int i = 0; i < NFT_PIDS; i++)
		if (nft_pids[i] && h->nlmsg_pid == (uint32_t)nft_pids[i]) return 0;
	if ((h->nlmsg_type & 0xff) == NFT_MSG_NEWGEN) return 0;
	/* The table's name is attribute 1 of every kind of object. */
	while (at + 4 <= h->nlmsg_len) {
		const struct nlattr *a = (const struct nlattr *)((const uint8_t *)h + at);
		if (a->nla_len < 4 || at + a->nla_len > h->nlmsg_len) return 0;
		if ((a->nla_type & NLA_TYPE_MASK) == 1)
			return a->nla_len == 4 + sizeof TABLE && !memcmp((const uint8_t *)a + 4, TABLE, sizeof TABLE);
		at += NLA_ALIGN(a->nla_len);
	}
	return 0;
}

/* Keeps of the datagram at `p` what concerns us; the new length. */
static size_t keep_foreign(uint8_t *p, size_t n)
{
	size_t kept = 0, at = 0;
	while (at + NLMSG_HDRLEN <= n) {
		struct nlmsghdr *h = (struct nlmsghdr *)(p + at);
		size_t length = NLMSG_ALIGN(h->nlmsg_len);
		if (h->nlmsg_len < NLMSG_HDRLEN || at + h->nlmsg_len > n) break;
		if (at + length > n) length = n - at;
		if (foreign_change(h)) {
			memmove(p + kept, p + at, length);
			kept += length;
		}
		at += length;
	}
	return kept;
}

/* After a reading: the next one may come at once while the burst lasts, then a pause later, never later than that. */
void set_due(struct subscription *s, int empty)
{
	int64_t now = now_ms(), latest = now + (int64_t)(BURST + 1) * s->pause;
	s->reserve = (s->reserve > now ? s->reserve : now) + s->pause;
	if (s->reserve > latest) s->reserve = latest;
	s->due = empty ? s->reserve - (int64_t)BURST * s->pause : 0;
}

/* Passes on what waits in a socket; 1 if nothing is left. A loss is told only once the socket is empty: a dump before that would miss more. */
int drain(struct subscription *s)
{
	uint8_t *payload = next_payload(2 * RECV_SIZE);
	uint32_t used = 0;
	int empty = 0, nothing = 1;
	for (int turn = 0; turn < TURN && !empty; turn++) {
		ssize_t n = receive_netlink(s->fd, payload + used, RECV_SIZE);
		if (n < 0) {
			if (errno == ENOBUFS) s->lost++;
			else if (errno == EAGAIN) empty = 1;
			else die("receive");
			continue;
		}
		nothing = 0;
		if (s->kind == RULESET) n = (ssize_t)keep_foreign(payload + used, (size_t)n);
		used += NLMSG_ALIGN((uint32_t)n);
		if (used > RECV_SIZE) {
			end_frame(DATA, s->request, used);
			payload = next_payload(2 * RECV_SIZE);
			used = 0;
		}
	}
	if (used) end_frame(DATA, s->request, used);
	if (empty && s->lost) {
		send_words(LOSS, s->request, s->lost, 0, 0, "");
		s->lost = 0;
	}
	if (!nothing) set_due(s, empty);
	return empty;
}

void drain_kind(uint32_t kind, uint32_t request)
{
	for (int i = 0; i < SUBSCRIPTIONS; i++) {
		struct subscription *s = &subscriptions[i];
		if (s->fd >= 0 && s->kind == kind && (!request || s->request == request))
			for (int more = 0; more < 8 && !drain(s); more++) continue;
	}
}

/*
 * Passes on ends that wait. A flow's beginning is in its socket before its end is in this one, so beginnings are taken
 * between reading ends and passing them on: Node never sees an end first. An overrun here is no loss, the kernel
 * delivers again.
 */
void drain_ends(struct subscription *s)
{
	static uint8_t ends[2 * RECV_SIZE] __attribute__((aligned(4)));
	uint32_t used = 0, turn = 0;
	int empty = 0;
	while (!empty && turn++ < TURN && used <= RECV_SIZE) {
		ssize_t n = receive_netlink(s->fd, ends + used, RECV_SIZE);
		if (n >= 0) used += NLMSG_ALIGN((uint32_t)n);
		else if (errno == EAGAIN) empty = 1;
		else if (errno != ENOBUFS) die("receive");
	}
	if (!used) return;
	drain_kind(CONNTRACK, s->request);
	memcpy(next_payload(used), ends, used);
	end_frame(DATA, s->request, used);
	set_due(s, empty);
}

/* ---- dumps ---- */

void start_dump(uint32_t request, int protocol, void *message, uint32_t buffers, uint32_t pause, int ordered)
{
	struct nlmsghdr *h = message;
	for (int i = 0; i < DUMPS; i++) {
		struct dump *d = &dumps[i];
		if (d->fd >= 0) continue;
		*d = (struct dump){ .fd = open_netlink(protocol, 0), .request = request, .pause = pause, .ordered = ordered,
				    .buffers = buffers ? buffers : 64 };
		if (d->fd >= 0 && send_netlink(d->fd, h, h->nlmsg_len) == 0) return;
		send_result(request, errno, NO_INDEX, 0, "dump");
		if (d->fd >= 0) close(d->fd);
		d->fd = -1;
		return;
	}
	send_result(request, EBUSY, NO_INDEX, 0, "too many dumps at once");
}

/* Reads some buffers of a dump; ends it when the kernel says so. */
void read_dump(struct dump *d)
{
	if (d->ordered) drain_kind(CONNTRACK, 0);
	for (uint32_t read = 0; read < d->buffers && waiting_out() < OUT_DUMPS; read++) {
		char text[200] = "";
		uint8_t *to = next_payload(RECV_SIZE);
		uint32_t keep = 0;
		int done = 0, error = 0;
		ssize_t n = receive_netlink(d->fd, to, RECV_SIZE);
		if (n < 0 && errno == EAGAIN) return;
		if (n < 0) {
			done = 1;
			error = errno;
			n = 0;
		}
		while (!done && keep + NLMSG_HDRLEN <= (uint32_t)n) {
			struct nlmsghdr *h = (struct nlmsghdr *)(to + keep);
			if (h->nlmsg_len < NLMSG_HDRLEN || keep + h->nlmsg_len > (uint32_t)n) break;
			if (h->nlmsg_flags & NLM_F_DUMP_INTR) d->flags |= RESULT_INTERRUPTED;
			if (h->nlmsg_type == NLMSG_DONE) {
				int32_t status = 0;
				done = 1;
				if (h->nlmsg_len >= NLMSG_LENGTH(4)) memcpy(&status, NLMSG_DATA(h), 4);
				error = status < 0 ? -status : 0;
			} else if (h->nlmsg_type == NLMSG_ERROR) {
				done = 1;
				error = message_error(h, text, sizeof text);
			} else
				keep += NLMSG_ALIGN(h->nlmsg_len);
		}
		if (keep > (uint32_t)n) keep = (uint32_t)n;
		if (keep) end_frame(DATA, d->request, keep);
		if (done) {
			send_result(d->request, error, NO_INDEX, d->flags, text);
			close(d->fd);
			d->fd = -1;
			return;
		}
	}
	d->due = now_ms() + d->pause;
}

void dump_conntrack(uint32_t request, uint32_t buffers, uint32_t pause)
{
	struct { struct nlmsghdr h; struct nfgenmsg g; } m = {
		.h = { .nlmsg_len = sizeof m, .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.g = { .nfgen_family = AF_UNSPEC },
	};
	start_dump(request, NETLINK_NETFILTER, &m, buffers > 1024 ? 1024 : buffers, pause > 1000 ? 1000 : pause, 1);
}

void dump_route(uint32_t request, uint32_t type, uint32_t family)
{
	struct { struct nlmsghdr h; uint32_t body[8]; } m = { .h = { .nlmsg_type = (uint16_t)type,
								     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	uint32_t length = type == RTM_GETLINK ? sizeof(struct ifinfomsg) : type == RTM_GETADDR ? sizeof(struct ifaddrmsg)
			: type == RTM_GETROUTE ? sizeof(struct rtmsg) : type == RTM_GETNEIGH ? sizeof(struct ndmsg) : 0;
	int is_known = family == AF_UNSPEC || family == AF_INET || family == AF_INET6 ||
		       (family == AF_BRIDGE && type == RTM_GETNEIGH);
	if (!length || !is_known) {
		refuse(request, "no such dump");
		return;
	}
	m.h.nlmsg_len = NLMSG_LENGTH(length);
	memcpy(m.body, &(uint8_t){ (uint8_t)family }, 1);
	start_dump(request, NETLINK_ROUTE, &m, 0, 0, 0);
}
