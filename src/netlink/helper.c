/*
 * spin-usp-helper: the one process of spin-usp that holds CAP_NET_ADMIN. It listens to the kernel (conntrack, NFLOG,
 * rtnetlink, nftables) and passes its messages on to stdout as they are; on stdin it takes requests. Meaning is
 * decoded in TypeScript (src/netlink, src/capture); here stand only transport and the limits of trust.
 *
 * Who starts it is not trusted with more than this:
 *   - subscriptions and dumps, of the kinds below;
 *   - nftables batches of NEWSETELEM and DELSETELEM, without expressions, on tables named exactly "spin_usp" of the
 *     families inet and bridge;
 *   - conntrack deletes that name a tuple, never a flush;
 *   - holding DNS answers back for a moment: the helper makes the rule and the queue itself, and all that it ever says of a
 *     packet is "accept", when Node asks or by itself soon after;
 *   - three conntrack settings switched on (accounting, events, time stamps);
 *   - `nft -f -` with the file that was opened at the start as its stdin: no shell, no other arguments, no environment.
 *     When file capabilities gave us more than the caller has (AT_SECURE), that file must belong to root and be
 *     writable by root alone.
 * Every field is checked against its bounds, attributes may come once, and whatever is not listed is refused. Netlink
 * flag bits in an attribute's type are masked as the kernel masks them, so that no second reading is possible.
 *
 * Frames, both ways: u32 payload length, u32 request number, u32 kind, payload padded to 4 (src/netlink/frames.ts).
 *
 * Privileges: CAP_NET_ADMIN alone. Install with `setcap cap_net_admin+ep` (cap_net_raw does no harm, it is dropped), or
 * have the service manager grant it, or start as root. It ends when its stdin closes, so with its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#define PROTOCOL_VERSION 1
#define FRAME_HEADER 12u
#define FRAME_LIMIT (4u << 20)
/*
 * What waits for Node is kept here rather than in the kernel's buffer, where an event takes five times its size: so far
 * events are taken although Node is busy, so far dumps.
 */
#define OUT_SIZE (256u << 10)
#define OUT_LIMIT (16u << 20)
#define OUT_DUMPS (512u << 10)
/* The kernel makes no dump buffer larger than this, and no event. */
#define RECV_SIZE (64u << 10)
#define TABLE "spin_usp"
#define NO_INDEX 0xffffffffu
#define SUBSCRIPTIONS 10
#define DUMPS 4
/* Messages taken from one socket before the others get their turn. */
#define TURN 4096
/*
 * DNS answers that are held wait no longer than this for Node, and no more of them at once; in the kernel, no more than
 * the last, should this process not come to read.
 */
#define HOLD_MS 80
#define HOLD_PENDING 512u
#define HOLD_KERNEL 1024u
#define HOLD_MARKS 128u
#define HOLD_QUEUE 5353
#define HOLD_TABLE "spin_usp_hold"
#define HOLD_INTERFACES 16u
#define HOLD_NAME 16u
/* Readings in a row that need no pause between: a rare event goes out at once, a stream of them at intervals. */
#define BURST 8

enum request_kind {
	CONNTRACK = 1, DUMP_CONNTRACK, PACKET_LOG, ROUTE, DUMP_ROUTE, RULESET, TRANSACT, DUMP_SET, DELETE_CONNTRACK,
	LOAD_RULESET, PREPARE, FORGET, HOLD, RELEASE,
	CONNTRACK_ENDS = 100 /* the second socket of CONNTRACK */
};
enum frame_kind { HELLO = 1, DATA, RESULT, LOSS };
enum { RESULT_INTERRUPTED = 1 };

struct subscription {
	int fd;
	uint32_t request, kind;
	uint32_t pause;       /* ms between two readings while much comes in */
	int64_t reserve;      /* ms; how far it runs ahead of the clock says how much of the burst is used up */
	int64_t due;          /* not read before, ms */
	uint32_t lost;
};

struct dump {
	int fd;
	uint32_t request, buffers, pause, flags;
	int ordered;          /* conntrack: events that are waiting go first */
	int64_t due;
};

static struct subscription subscriptions[SUBSCRIPTIONS];
static struct dump dumps[DUMPS];
static int transact_fd = -1;
static uint32_t transact_port;
static int ruleset_fd = -1;
static struct { pid_t pid, last; int fd; uint32_t request; int64_t deadline; char text[4096]; size_t length; } nft = { .fd = -1 };
static uint8_t *out;          /* frames that wait to be written together: Node then wakes once for all */
static uint32_t out_size, out_sent, out_used;

static void serve_held(void);

static void die(const char *what)
{
	dprintf(2, "spin-usp-helper: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- to Node ---- */

/* Writes what Node takes; with `all`, waits until it took everything. */
static void flush_out(int all)
{
	while (out_sent < out_used) {
		ssize_t n = write(1, out + out_sent, out_used - out_sent);
		if (n >= 0) out_sent += (uint32_t)n;
		else if (errno == EAGAIN && !all) return;
		else if (errno == EAGAIN) {
			struct pollfd f = { .fd = 1, .events = POLLOUT };
			poll(&f, 1, HOLD_MS);
			serve_held();
		} else if (errno != EINTR) {
			exit(0); /* the reader has gone */
		}
	}
	out_sent = out_used = 0;
	if (out_size > OUT_SIZE) {
		free(out);
		out = malloc(out_size = OUT_SIZE);
		if (!out) die("memory");
	}
}

/* Where the next frame's payload goes, with room for `length` bytes. */
static uint8_t *next_payload(uint32_t length)
{
	uint32_t room = FRAME_HEADER + length + 4;
	if (out_used + room > out_size && out_sent) {
		memmove(out, out + out_sent, out_used - out_sent);
		out_used -= out_sent;
		out_sent = 0;
	}
	if (out_used + room > out_size) {
		uint8_t *grown;
		if (out_size > OUT_LIMIT) flush_out(1);
		if (out_used + room > out_size) {
			grown = realloc(out, 2 * out_size);
			if (!grown) die("memory");
			out = grown;
			out_size *= 2;
		}
	}
	return out + out_used + FRAME_HEADER;
}

/* Makes a frame of the `length` bytes that stand at `next_payload`. */
static void end_frame(uint32_t kind, uint32_t request, uint32_t length)
{
	uint32_t padded = (length + 3) & ~3u;
	uint32_t header[3] = { length, request, kind };
	memcpy(out + out_used, header, FRAME_HEADER);
	memset(out + out_used + FRAME_HEADER + length, 0, padded - length);
	out_used += FRAME_HEADER + padded;
}

static void send_words(uint32_t kind, uint32_t request, uint32_t a, uint32_t b, uint32_t c, const char *text)
{
	uint32_t words[3] = { a, b, c };
	size_t n = strlen(text);
	uint8_t *payload = next_payload((uint32_t)(sizeof words + n));
	memcpy(payload, words, sizeof words);
	memcpy(payload + sizeof words, text, n);
	end_frame(kind, request, (uint32_t)(sizeof words + n));
}

static void send_result(uint32_t request, int error, uint32_t index, uint32_t flags, const char *text)
{
	send_words(RESULT, request, (uint32_t)error, index, flags, text);
}

static void refuse(uint32_t request, const char *why)
{
	send_result(request, EPERM, NO_INDEX, 0, why);
}

/* ---- netlink sockets ---- */

static int open_netlink(int protocol, uint32_t receive_bytes)
{
	int on = 1, size = receive_bytes > (128u << 20) ? 128 << 20 : (int)receive_bytes;
	struct sockaddr_nl local = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0) return -1;
	if (size > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&local, sizeof local) < 0) {
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static int send_netlink(int fd, const void *message, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;
	do n = sendto(fd, message, length, 0, (struct sockaddr *)&kernel, sizeof kernel);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

/* Bytes of one datagram from the kernel, or -1 with errno; what others than the kernel send is skipped. */
static ssize_t receive_netlink(int fd, void *to, size_t size)
{
	for (;;) {
		struct sockaddr_nl from = { 0 };
		socklen_t from_length = sizeof from;
		ssize_t n = recvfrom(fd, to, size, MSG_DONTWAIT | MSG_TRUNC, (struct sockaddr *)&from, &from_length);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return -1;
		if (from.nl_pid != 0) continue;
		if ((size_t)n > size) {
			errno = ENOBUFS;
			return -1;
		}
		return n;
	}
}

/* The error in an NLMSG_ERROR; its text, if any, is copied to `text`. 0 is an acknowledgement. */
static int message_error(const struct nlmsghdr *h, char *text, size_t size)
{
	const struct nlmsgerr *e = NLMSG_DATA(h);
	uint32_t at = NLMSG_HDRLEN + sizeof *e;
	if (h->nlmsg_len < at) return EBADMSG;
	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) && (h->nlmsg_flags & NLM_F_CAPPED) && text) {
		while (at + 4 <= h->nlmsg_len) {
			const struct nlattr *a = (const struct nlattr *)((const uint8_t *)h + at);
			if (a->nla_len < 4 || at + a->nla_len > h->nlmsg_len) break;
			if ((a->nla_type & NLA_TYPE_MASK) == NLMSGERR_ATTR_MSG)
				snprintf(text, size, "%.*s", (int)a->nla_len - 4, (const char *)a + 4);
			at += NLA_ALIGN(a->nla_len);
		}
	}
	return -e->error;
}

/*
 * Reads the answers to what was just sent (the kernel answers while we send, so they are all there) and gives the first
 * error that is not `ignored`, how many were, and the sequence number of the message at fault.
 */
static int collect_errors(int fd, int ignored, uint32_t *ignored_count, uint32_t *index, char *text, size_t size)
{
	static uint32_t buffer[RECV_SIZE / 4];
	int first = 0;
	for (;;) {
		ssize_t n = receive_netlink(fd, buffer, sizeof buffer);
		if (n < 0) {
			if (errno == EAGAIN) return first;
			if (!first) first = errno;
			if (errno != ENOBUFS) return first;
			continue;
		}
		for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type != NLMSG_ERROR) continue;
			int error = message_error(h, first ? NULL : text, size);
			if (error == 0) continue;
			if (error == ignored) ++*ignored_count;
			else if (!first) {
				first = error;
				*index = h->nlmsg_seq;
			}
		}
	}
}

/* ---- subscriptions ---- */

static int join(int fd, int group)
{
	return setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group);
}

static int add_subscription(uint32_t kind, uint32_t request, int fd, uint32_t pause)
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

static void end_hold(struct subscription *s);

/* Ends a subscription; what it still had to tell is not told. */
static void forget(uint32_t subscription)
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
static void subscribe_conntrack(uint32_t request, uint32_t pause, uint32_t bytes)
{
	static const int begins[] = { NFNLGRP_CONNTRACK_NEW, 0 }, ends[] = { NFNLGRP_CONNTRACK_DESTROY, 0 };
	if (subscribe(CONNTRACK, request, NETLINK_NETFILTER, bytes, pause, begins) < 0) return;
	if (subscribe(CONNTRACK_ENDS, request, NETLINK_NETFILTER, bytes, pause, ends) < 0) forget(request);
	else send_result(request, 0, NO_INDEX, 0, "");
}

static void subscribe_one(uint32_t kind, uint32_t request, int protocol, uint32_t bytes, uint32_t pause, const int *groups)
{
	if (subscribe(kind, request, protocol, bytes, pause, groups) == 0) send_result(request, 0, NO_INDEX, 0, "");
}

static void put_attribute(struct nlmsghdr *h, uint16_t type, const void *value, uint16_t length)
{
	struct nlattr *a = (struct nlattr *)((uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len));
	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + length);
	memcpy((uint8_t *)a + NLA_HDRLEN, value, length);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + NLA_ALIGN(a->nla_len);
}

static uint32_t be32(uint32_t v)
{
	return __builtin_bswap32(v);
}

static uint16_t be16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

static void subscribe_log(uint32_t request, uint32_t group, uint32_t snap, uint32_t threshold, uint32_t pause)
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
	error = send_netlink(fd, h, h->nlmsg_len) < 0 ? errno : collect_errors(fd, 0, &none, &index, text, sizeof text);
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
	if (nft.last && h->nlmsg_pid == (uint32_t)nft.last) return 0;
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
static void set_due(struct subscription *s, int empty)
{
	int64_t now = now_ms(), latest = now + (int64_t)(BURST + 1) * s->pause;
	s->reserve = (s->reserve > now ? s->reserve : now) + s->pause;
	if (s->reserve > latest) s->reserve = latest;
	s->due = empty ? s->reserve - (int64_t)BURST * s->pause : 0;
}

/* Passes on what waits in a socket; 1 if nothing is left. A loss is told only once the socket is empty: a dump before that would miss more. */
static int drain(struct subscription *s)
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

static void drain_kind(uint32_t kind, uint32_t request)
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
static void drain_ends(struct subscription *s)
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

/* ---- DNS answers that wait ---- */

/*
 * A device must not learn an address before what follows from it stands in the kernel. So while Node asks for it, answers
 * that leave through the home's interfaces wait in a queue of the kernel's, right after they were logged (spin.nft). Node
 * is told of them after all that was logged until then, and says when they may go on. Whatever Node does or does not do,
 * they go on after HOLD_MS.
 *
 * The rule stands in a table that the kernel removes when our socket is closed, however we end, and lets pass when nobody
 * listens to the queue or the queue is full.
 */
static struct {
	uint32_t newest, accepted; /* the kernel's numbers of packets */
	uint32_t first, marks;     /* a ring: up to which packet we have read at which time, the oldest first */
	struct { uint32_t id; int64_t due; } mark[HOLD_MARKS];
} held;

static struct subscription *find_hold(void)
{
	for (int i = 0; i < SUBSCRIPTIONS; i++)
		if (subscriptions[i].fd >= 0 && subscriptions[i].kind == HOLD) return &subscriptions[i];
	return NULL;
}

static uint32_t begin_nest(struct nlmsghdr *h, uint16_t type)
{
	uint32_t at = NLMSG_ALIGN(h->nlmsg_len);
	put_attribute(h, type | NLA_F_NESTED, "", 0);
	return at;
}

static void end_nest(struct nlmsghdr *h, uint32_t at)
{
	((struct nlattr *)((uint8_t *)h + at))->nla_len = (uint16_t)(h->nlmsg_len - at);
}

static void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
	value = be32(value);
	put_attribute(h, type, &value, sizeof value);
}

static void put_u16(struct nlmsghdr *h, uint16_t type, uint16_t value)
{
	value = be16(value);
	put_attribute(h, type, &value, sizeof value);
}

static void put_text(struct nlmsghdr *h, uint16_t type, const char *text)
{
	put_attribute(h, type, text, (uint16_t)(strlen(text) + 1));
}

/* Where the message after `h` begins; `h` NULL: at `buffer`. The buffer must be of zeros. */
static struct nlmsghdr *next_message(void *buffer, struct nlmsghdr *h, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *next = h ? (struct nlmsghdr *)((uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len)) : buffer;
	struct nfgenmsg *g = NLMSG_DATA(next);
	next->nlmsg_len = NLMSG_LENGTH(sizeof *g);
	next->nlmsg_type = type;
	next->nlmsg_flags = NLM_F_REQUEST | flags;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = be16(resource);
	return next;
}

static struct nlmsghdr *next_nft(void *buffer, struct nlmsghdr *h, uint16_t type, uint16_t flags)
{
	return next_message(buffer, h, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, NFPROTO_INET, 0);
}

/* The start of one expression of a rule; ended by two `end_nest`. */
static void begin_expression(struct nlmsghdr *h, const char *name, uint32_t nests[2])
{
	nests[0] = begin_nest(h, NFTA_LIST_ELEM);
	put_text(h, NFTA_EXPR_NAME, name);
	nests[1] = begin_nest(h, NFTA_EXPR_DATA);
}

static void end_expression(struct nlmsghdr *h, const uint32_t nests[2])
{
	end_nest(h, nests[1]);
	end_nest(h, nests[0]);
}

static void put_meta(struct nlmsghdr *h, uint32_t key)
{
	uint32_t nests[2];
	begin_expression(h, "meta", nests);
	put_u32(h, NFTA_META_KEY, key);
	put_u32(h, NFTA_META_DREG, NFT_REG_1);
	end_expression(h, nests);
}

static void put_equals(struct nlmsghdr *h, const void *value, uint16_t length)
{
	uint32_t nests[2], data;
	begin_expression(h, "cmp", nests);
	put_u32(h, NFTA_CMP_SREG, NFT_REG_1);
	put_u32(h, NFTA_CMP_OP, NFT_CMP_EQ);
	data = begin_nest(h, NFTA_CMP_DATA);
	put_attribute(h, NFTA_DATA_VALUE, value, length);
	end_nest(h, data);
	end_expression(h, nests);
}

/* The verdict: nftables' own expression, or where the kernel was built without it, that of iptables. */
static void put_queue(struct nlmsghdr *h, int of_iptables)
{
	uint32_t nests[2];
	begin_expression(h, of_iptables ? "target" : "queue", nests);
	if (of_iptables) {
		struct xt_NFQ_info_v3 info = { .queuenum = HOLD_QUEUE, .queues_total = 1, .flags = NFQ_FLAG_BYPASS };
		uint8_t padded[8] = { 0 };
		memcpy(padded, &info, sizeof info);
		put_text(h, NFTA_TARGET_NAME, "NFQUEUE");
		put_u32(h, NFTA_TARGET_REV, 3);
		put_attribute(h, NFTA_TARGET_INFO, padded, sizeof padded);
	} else {
		put_u16(h, NFTA_QUEUE_NUM, HOLD_QUEUE);
		put_u16(h, NFTA_QUEUE_TOTAL, 1);
		put_u16(h, NFTA_QUEUE_FLAGS, NFT_QUEUE_FLAG_BYPASS);
	}
	end_expression(h, nests);
}

/* `oifname NAME meta l4proto PROTOCOL th sport 53 queue to HOLD_QUEUE bypass` */
static struct nlmsghdr *put_hold_rule(void *buffer, struct nlmsghdr *h, const uint8_t *name, uint8_t protocol, int of_iptables)
{
	uint32_t list, nests[2];
	uint16_t dns = be16(53);
	h = next_nft(buffer, h, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	put_text(h, NFTA_RULE_TABLE, HOLD_TABLE);
	put_text(h, NFTA_RULE_CHAIN, "answers");
	list = begin_nest(h, NFTA_RULE_EXPRESSIONS);
	put_meta(h, NFT_META_OIFNAME);
	put_equals(h, name, HOLD_NAME);
	put_meta(h, NFT_META_L4PROTO);
	put_equals(h, &protocol, 1);
	begin_expression(h, "payload", nests);
	put_u32(h, NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_u32(h, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
	put_u32(h, NFTA_PAYLOAD_OFFSET, 0);
	put_u32(h, NFTA_PAYLOAD_LEN, 2);
	end_expression(h, nests);
	put_equals(h, &dns, 2);
	put_queue(h, of_iptables);
	end_nest(h, list);
	return h;
}

static int batch_result(int fd, void *buffer, struct nlmsghdr *last)
{
	uint32_t none = 0, index;
	struct nlmsghdr *h = next_message(buffer, last, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	if (send_netlink(fd, buffer, (size_t)((uint8_t *)h - (uint8_t *)buffer) + h->nlmsg_len) < 0) return errno;
	return collect_errors(fd, 0, &none, &index, NULL, 0);
}

/* Makes the table, or removes it if there are no `names`. */
static int change_hold_table(int fd, const uint8_t *names, uint32_t count, int of_iptables)
{
	static uint32_t buffer[(2 * HOLD_INTERFACES + 4) * 512 / 4];
	struct nlmsghdr *h;
	uint32_t hook;
	memset(buffer, 0, sizeof buffer);
	h = next_message(buffer, NULL, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	h = next_nft(buffer, h, count ? NFT_MSG_NEWTABLE : NFT_MSG_DELTABLE, count ? NLM_F_CREATE | NLM_F_EXCL : 0);
	put_text(h, NFTA_TABLE_NAME, HOLD_TABLE);
	if (!count) return batch_result(fd, buffer, h);
	put_u32(h, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
	h = next_nft(buffer, h, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	put_text(h, NFTA_CHAIN_TABLE, HOLD_TABLE);
	put_text(h, NFTA_CHAIN_NAME, "answers");
	hook = begin_nest(h, NFTA_CHAIN_HOOK);
	put_u32(h, NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING);
	put_u32(h, NFTA_HOOK_PRIORITY, 301); /* spin.nft logs answers at 300 */
	end_nest(h, hook);
	put_text(h, NFTA_CHAIN_TYPE, "filter");
	for (uint32_t i = 0; i < count; i++) {
		h = put_hold_rule(buffer, h, names + i * HOLD_NAME, IPPROTO_UDP, of_iptables);
		h = put_hold_rule(buffer, h, names + i * HOLD_NAME, IPPROTO_TCP, of_iptables);
	}
	return batch_result(fd, buffer, h);
}

static int bind_queue(int fd)
{
	uint32_t buffer[32] = { 0 }, none = 0, index;
	struct nlmsghdr *h = next_message(buffer, NULL, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG, NLM_F_ACK, AF_UNSPEC, HOLD_QUEUE);
	struct nfqnl_msg_config_cmd bind_command = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params parameters = { .copy_mode = NFQNL_COPY_META };
	put_attribute(h, NFQA_CFG_CMD, &bind_command, sizeof bind_command);
	put_attribute(h, NFQA_CFG_PARAMS, &parameters, sizeof parameters);
	put_u32(h, NFQA_CFG_QUEUE_MAXLEN, HOLD_KERNEL);
	put_u32(h, NFQA_CFG_MASK, NFQA_CFG_F_FAIL_OPEN);
	put_u32(h, NFQA_CFG_FLAGS, NFQA_CFG_F_FAIL_OPEN);
	if (send_netlink(fd, h, h->nlmsg_len) < 0) return errno;
	return collect_errors(fd, 0, &none, &index, NULL, 0);
}

static void hold_answers(uint32_t request, const uint8_t *names, uint32_t length)
{
	const char *what = "the kernel has no queue for packets (nfnetlink_queue)";
	int fd, error;
	if (length == 0 || length % HOLD_NAME || length / HOLD_NAME > HOLD_INTERFACES) {
		refuse(request, "number of interfaces");
		return;
	}
	for (uint32_t at = 0; at < length; at += HOLD_NAME)
		if (!names[at] || names[at + HOLD_NAME - 1]) {
			refuse(request, "name of an interface");
			return;
		}
	if (find_hold()) {
		send_result(request, EBUSY, NO_INDEX, 0, "answers are held already");
		return;
	}
	fd = open_netlink(NETLINK_NETFILTER, 1 << 20);
	if (fd < 0) {
		send_result(request, errno, NO_INDEX, 0, "socket");
		return;
	}
	error = bind_queue(fd);
	if (!error) {
		what = "the kernel takes no rule that leads to a queue";
		error = change_hold_table(fd, names, length / HOLD_NAME, 0);
		if (error == ENOENT) error = change_hold_table(fd, names, length / HOLD_NAME, 1);
	}
	if (error) {
		close(fd);
		send_result(request, error, NO_INDEX, 0, what);
		return;
	}
	memset(&held, 0, sizeof held);
	if (add_subscription(HOLD, request, fd, 0) == 0) send_result(request, 0, NO_INDEX, 0, "");
}

/* Lets packets up to this one go on. This is all that we ever say of a packet. */
static void accept_held(const struct subscription *s, uint32_t id)
{
	struct { struct nlmsghdr h; struct nfgenmsg g; struct nlattr a; struct nfqnl_msg_verdict_hdr v; } m = {
		.h = { .nlmsg_len = sizeof m, .nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_VERDICT_BATCH,
		       .nlmsg_flags = NLM_F_REQUEST },
		.g = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0, .res_id = be16(HOLD_QUEUE) },
		.a = { .nla_len = NLA_HDRLEN + sizeof m.v, .nla_type = NFQA_VERDICT_HDR },
		.v = { .verdict = be32(NF_ACCEPT), .id = be32(id) },
	};
	send_netlink(s->fd, &m, sizeof m);
	held.accepted = id;
	while (held.marks && (int32_t)(held.mark[held.first].id - id) <= 0) {
		held.first = (held.first + 1) % HOLD_MARKS;
		held.marks--;
	}
}

/* The same, without Node's consent. */
static void accept_late(struct subscription *s, uint32_t id)
{
	s->lost += id - held.accepted;
	accept_held(s, id);
}

static void release(uint32_t id)
{
	const struct subscription *s = find_hold();
	if (s && (int32_t)(id - held.accepted) > 0 && (int32_t)(held.newest - id) >= 0) accept_held(s, id);
}

static uint32_t packet_number(const struct nlmsghdr *h)
{
	uint32_t at = NLMSG_LENGTH(sizeof(struct nfgenmsg)), id = held.newest;
	while (at + NLA_HDRLEN + sizeof(struct nfqnl_msg_packet_hdr) <= h->nlmsg_len) {
		const struct nlattr *a = (const struct nlattr *)((const uint8_t *)h + at);
		if ((a->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
			memcpy(&id, (const uint8_t *)a + NLA_HDRLEN, sizeof id);
			return be32(id);
		}
		if (a->nla_len < NLA_HDRLEN) break;
		at += NLA_ALIGN(a->nla_len);
	}
	return id;
}

/* Takes what waits in the queue; whether there was anything. Passes nothing on. */
static int read_held(struct subscription *s)
{
	static uint32_t buffer[RECV_SIZE / 4];
	uint32_t before = held.newest, last;
	for (uint32_t turn = 0; turn < HOLD_KERNEL; turn++) {
		ssize_t n = receive_netlink(s->fd, buffer, sizeof buffer);
		if (n < 0 && errno == EAGAIN) break;
		if (n < 0 && errno != ENOBUFS) die("receive");
		for (struct nlmsghdr *h = (struct nlmsghdr *)buffer; n > 0 && NLMSG_OK(h, n); h = NLMSG_NEXT(h, n))
			if (h->nlmsg_type == (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) held.newest = packet_number(h);
	}
	if (held.newest == before) return 0;
	if (held.marks == HOLD_MARKS) accept_late(s, held.mark[held.first].id);
	last = (held.first + held.marks++) % HOLD_MARKS;
	held.mark[last].id = held.newest;
	held.mark[last].due = now_ms() + HOLD_MS;
	if (held.newest - held.accepted > HOLD_PENDING) accept_late(s, held.newest - HOLD_PENDING);
	return 1;
}

static void drain_held(struct subscription *s)
{
	if (!read_held(s)) return;
	if (out_used - out_sent >= OUT_LIMIT) {
		accept_late(s, held.newest);
		return;
	}
	/* Whatever waits was logged before. */
	drain_kind(PACKET_LOG, 0);
	memcpy(next_payload(sizeof held.newest), &held.newest, sizeof held.newest);
	end_frame(DATA, s->request, sizeof held.newest);
}

/* Lets go on what has waited for too long. */
static void accept_overdue(struct subscription *s)
{
	int64_t now = now_ms();
	while (held.marks && held.mark[held.first].due <= now) accept_late(s, held.mark[held.first].id);
}

static void tell_late(void)
{
	struct subscription *s = find_hold();
	if (!s) return;
	accept_overdue(s);
	if (s->lost) send_words(LOSS, s->request, s->lost, 0, 0, "");
	s->lost = 0;
}

/* While we wait for Node and do nothing else. */
static void serve_held(void)
{
	struct subscription *s = find_hold();
	if (!s) return;
	read_held(s);
	accept_overdue(s);
}

/* Leaves nothing behind in the queue: first the rule goes, then what waits is let go. */
static void end_hold(struct subscription *s)
{
	change_hold_table(s->fd, NULL, 0, 0);
	read_held(s);
	if (held.newest != held.accepted) accept_held(s, held.newest);
}

static void end_hold_at_exit(void)
{
	struct subscription *s = find_hold();
	if (s) end_hold(s);
}

/* ---- dumps ---- */

static void start_dump(uint32_t request, int protocol, void *message, uint32_t buffers, uint32_t pause, int ordered)
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
static void read_dump(struct dump *d)
{
	if (d->ordered) drain_kind(CONNTRACK, 0);
	for (uint32_t read = 0; read < d->buffers && out_used - out_sent < OUT_DUMPS; read++) {
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

static void dump_conntrack(uint32_t request, uint32_t buffers, uint32_t pause)
{
	struct { struct nlmsghdr h; struct nfgenmsg g; } m = {
		.h = { .nlmsg_len = sizeof m, .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.g = { .nfgen_family = AF_UNSPEC },
	};
	start_dump(request, NETLINK_NETFILTER, &m, buffers > 1024 ? 1024 : buffers, pause > 1000 ? 1000 : pause, 1);
}

static void dump_route(uint32_t request, uint32_t type, uint32_t family)
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

/* ---- what we let through to the kernel ---- */

struct attribute { uint32_t type, length; const uint8_t *value; };

/* 1: `a` is the next attribute; 0: the end; -1: malformed. */
static int next_attribute(const uint8_t **p, uint32_t *left, struct attribute *a)
{
	uint16_t length, type;
	if (*left == 0) return 0;
	if (*left < 4) return -1;
	memcpy(&length, *p, 2);
	memcpy(&type, *p + 2, 2);
	if (length < 4 || length > *left) return -1;
	*a = (struct attribute){ type & NLA_TYPE_MASK, length - 4u, *p + 4 };
	length = (uint16_t)(length > 0xfffc ? 0 : (length + 3) & ~3);
	if (length == 0 || length > *left) return -1;
	*p += length;
	*left -= length;
	return 1;
}

/* Fills `found` with the attributes up to `max`; each may come once, none may be unknown to `allowed` (a bit mask). */
static const char *parse(const uint8_t *p, uint32_t left, uint32_t allowed, struct attribute *found, uint32_t max)
{
	struct attribute a;
	int more;
	memset(found, 0, (max + 1) * sizeof *found);
	while ((more = next_attribute(&p, &left, &a)) > 0) {
		if (a.type > max || !(allowed & 1u << a.type)) return "attribute not allowed";
		if (found[a.type].value) return "attribute twice";
		found[a.type] = a;
	}
	return more < 0 ? "malformed attribute" : NULL;
}

static int is_name(const struct attribute *a)
{
	if (!a->value || a->length < 2 || a->length > 128 || a->value[a->length - 1] != 0) return 0;
	for (uint32_t i = 0; i + 1 < a->length; i++) {
		uint8_t c = a->value[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
			return 0;
	}
	return 1;
}

static const char *check_data(const struct attribute *a, int verdict_allowed)
{
	struct attribute in[3], verdict[3];
	const char *wrong = parse(a->value, a->length, 1u << NFTA_DATA_VALUE | (verdict_allowed ? 1u << NFTA_DATA_VERDICT : 0), in, 2);
	int32_t code;
	if (wrong) return wrong;
	if (in[NFTA_DATA_VALUE].value) {
		if (in[NFTA_DATA_VERDICT].value) return "value and verdict";
		return in[NFTA_DATA_VALUE].length >= 1 && in[NFTA_DATA_VALUE].length <= 64 ? NULL : "value length";
	}
	if (!in[NFTA_DATA_VERDICT].value) return "no value";
	wrong = parse(in[NFTA_DATA_VERDICT].value, in[NFTA_DATA_VERDICT].length,
		      1u << NFTA_VERDICT_CODE | 1u << NFTA_VERDICT_CHAIN, verdict, 2);
	if (wrong) return wrong;
	if (verdict[NFTA_VERDICT_CODE].length != 4 || !verdict[NFTA_VERDICT_CODE].value) return "verdict code";
	memcpy(&code, verdict[NFTA_VERDICT_CODE].value, 4);
	code = (int32_t)be32((uint32_t)code);
	if (code != NF_DROP && code != NF_ACCEPT && code != NFT_CONTINUE && code != NFT_JUMP && code != NFT_GOTO && code != NFT_RETURN)
		return "verdict not allowed";
	if (verdict[NFTA_VERDICT_CHAIN].value && !is_name(&verdict[NFTA_VERDICT_CHAIN])) return "chain name";
	return NULL;
}

static const char *check_element(const struct attribute *element)
{
	struct attribute in[NFTA_SET_ELEM_KEY_END + 1];
	const char *wrong = parse(element->value, element->length,
				  1u << NFTA_SET_ELEM_KEY | 1u << NFTA_SET_ELEM_DATA | 1u << NFTA_SET_ELEM_FLAGS |
				  1u << NFTA_SET_ELEM_TIMEOUT | 1u << NFTA_SET_ELEM_KEY_END, in, NFTA_SET_ELEM_KEY_END);
	if (!wrong && in[NFTA_SET_ELEM_KEY].value) wrong = check_data(&in[NFTA_SET_ELEM_KEY], 0);
	if (!wrong && in[NFTA_SET_ELEM_KEY_END].value) wrong = check_data(&in[NFTA_SET_ELEM_KEY_END], 0);
	if (!wrong && in[NFTA_SET_ELEM_DATA].value) wrong = check_data(&in[NFTA_SET_ELEM_DATA], 1);
	if (!wrong && in[NFTA_SET_ELEM_FLAGS].value && in[NFTA_SET_ELEM_FLAGS].length != 4) wrong = "flags length";
	if (!wrong && in[NFTA_SET_ELEM_TIMEOUT].value && in[NFTA_SET_ELEM_TIMEOUT].length != 8) wrong = "timeout length";
	return wrong;
}

/* One message of an nftables batch, or the request of a set dump. */
static const char *check_set_message(const struct nlmsghdr *h, int dump)
{
	const struct nfgenmsg *g = NLMSG_DATA(h);
	const uint8_t *body = (const uint8_t *)h + NLMSG_LENGTH(sizeof *g);
	struct attribute in[NFTA_SET_ELEM_LIST_ELEMENTS + 1], element;
	uint32_t message = h->nlmsg_type & 0xff, flags = h->nlmsg_flags, left;
	uint32_t allowed = 1u << NFTA_SET_ELEM_LIST_TABLE | 1u << NFTA_SET_ELEM_LIST_SET;
	const char *wrong;
	int more;
	if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES) return "another subsystem";
	if (dump) {
		if (message != NFT_MSG_GETSETELEM || flags != (NLM_F_REQUEST | NLM_F_DUMP)) return "message type not allowed";
	} else {
		uint32_t extra = message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : 0;
		if (message != NFT_MSG_NEWSETELEM && message != NFT_MSG_DELSETELEM) return "message type not allowed";
		if (!(flags & NLM_F_REQUEST) || (flags & ~(NLM_F_REQUEST | NLM_F_ACK | extra))) return "flags not allowed";
		allowed |= 1u << NFTA_SET_ELEM_LIST_ELEMENTS;
	}
	if (g->version != NFNETLINK_V0 || g->res_id != 0) return "header not allowed";
	if (g->nfgen_family != NFPROTO_INET && g->nfgen_family != NFPROTO_BRIDGE) return "family not allowed";
	wrong = parse(body, h->nlmsg_len - (uint32_t)NLMSG_LENGTH(sizeof *g), allowed, in, NFTA_SET_ELEM_LIST_ELEMENTS);
	if (wrong) return wrong;
	if (in[NFTA_SET_ELEM_LIST_TABLE].length != sizeof TABLE || !in[NFTA_SET_ELEM_LIST_TABLE].value ||
	    memcmp(in[NFTA_SET_ELEM_LIST_TABLE].value, TABLE, sizeof TABLE))
		return "not our table";
	if (!is_name(&in[NFTA_SET_ELEM_LIST_SET])) return "set name";
	if (!in[NFTA_SET_ELEM_LIST_ELEMENTS].value) return message == NFT_MSG_NEWSETELEM ? "no elements" : NULL;
	body = in[NFTA_SET_ELEM_LIST_ELEMENTS].value;
	left = in[NFTA_SET_ELEM_LIST_ELEMENTS].length;
	while ((more = next_attribute(&body, &left, &element)) > 0) {
		if (element.type != NFTA_LIST_ELEM) return "element list";
		if ((wrong = check_element(&element))) return wrong;
	}
	return more < 0 ? "malformed element list" : NULL;
}

/* The message at the start of `p`, whole and with a netfilter header, or NULL. Lengths must be multiples of 4. */
static const struct nlmsghdr *whole_message(const uint8_t *p, uint32_t left)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)p;
	if (left < NLMSG_LENGTH(sizeof(struct nfgenmsg))) return NULL;
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nfgenmsg)) || h->nlmsg_len > left || h->nlmsg_len % 4) return NULL;
	return h;
}

/* BATCH_BEGIN or BATCH_END and nothing more. */
static int is_batch_mark(const struct nlmsghdr *h, uint16_t type)
{
	const struct nfgenmsg *g = NLMSG_DATA(h);
	return h->nlmsg_type == type && h->nlmsg_len == NLMSG_LENGTH(sizeof *g) && h->nlmsg_flags == NLM_F_REQUEST &&
	       g->nfgen_family == AF_UNSPEC && g->version == NFNETLINK_V0 && g->res_id == be16(NFNL_SUBSYS_NFTABLES);
}

static const char *check_batch(const uint8_t *p, uint32_t left, uint32_t *index)
{
	const struct nlmsghdr *h = whole_message(p, left);
	const char *wrong;
	if (!h || !is_batch_mark(h, NFNL_MSG_BATCH_BEGIN)) return "not a batch";
	for (uint32_t i = 0;; i++) {
		*index = i;
		p += h->nlmsg_len;
		left -= h->nlmsg_len;
		h = whole_message(p, left);
		if (!h) return "malformed message";
		if (h->nlmsg_type == NFNL_MSG_BATCH_END)
			return is_batch_mark(h, NFNL_MSG_BATCH_END) && left == h->nlmsg_len ? NULL : "malformed batch end";
		if ((wrong = check_set_message(h, 0))) return wrong;
	}
}

static const char *check_delete(const struct nlmsghdr *h)
{
	const struct nfgenmsg *g = NLMSG_DATA(h);
	struct attribute in[CTA_ZONE + 1], tuple[3];
	const char *wrong;
	if (h->nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE)) return "message type not allowed";
	if (h->nlmsg_flags != NLM_F_REQUEST) return "flags not allowed";
	if ((g->nfgen_family != AF_INET && g->nfgen_family != AF_INET6) || g->version != NFNETLINK_V0 || g->res_id != 0)
		return "header not allowed";
	wrong = parse((const uint8_t *)h + NLMSG_LENGTH(sizeof *g), h->nlmsg_len - (uint32_t)NLMSG_LENGTH(sizeof *g),
		      1u << CTA_TUPLE_ORIG | 1u << CTA_ID | 1u << CTA_ZONE, in, CTA_ZONE);
	if (wrong) return wrong;
	/* Without a tuple it would be a flush. */
	if (!in[CTA_TUPLE_ORIG].value) return "no tuple";
	wrong = parse(in[CTA_TUPLE_ORIG].value, in[CTA_TUPLE_ORIG].length, 1u << CTA_TUPLE_IP | 1u << CTA_TUPLE_PROTO, tuple, 2);
	if (wrong) return wrong;
	if (!tuple[CTA_TUPLE_IP].length || !tuple[CTA_TUPLE_PROTO].length) return "tuple not whole";
	if (in[CTA_ID].value && in[CTA_ID].length != 4) return "id length";
	if (in[CTA_ZONE].value && in[CTA_ZONE].length != 2) return "zone length";
	return NULL;
}

static int open_transact(void)
{
	struct sockaddr_nl local;
	socklen_t length = sizeof local;
	int size = (int)FRAME_LIMIT * 2;
	if (transact_fd >= 0) return 0;
	transact_fd = open_netlink(NETLINK_NETFILTER, 8 << 20);
	if (transact_fd < 0) return -1;
	if (setsockopt(transact_fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
		setsockopt(transact_fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	if (getsockname(transact_fd, (struct sockaddr *)&local, &length) == 0) transact_port = local.nl_pid;
	return 0;
}

static void transact(uint32_t request, const uint8_t *p, uint32_t length)
{
	uint32_t index = NO_INDEX, none = 0;
	const char *wrong = check_batch(p, length, &index);
	char text[200] = "";
	int error;
	if (wrong) {
		send_result(request, EPERM, index, 0, wrong);
		return;
	}
	index = NO_INDEX;
	if (open_transact() < 0 || send_netlink(transact_fd, p, length) < 0) error = errno;
	else error = collect_errors(transact_fd, 0, &none, &index, text, sizeof text);
	send_result(request, error, index, 0, text);
}

static void delete_conntrack(uint32_t request, const uint8_t *p, uint32_t length)
{
	uint32_t count = 0, gone = 0, index = NO_INDEX, at = 0;
	char text[200] = "";
	int error;
	while (at < length) {
		const struct nlmsghdr *h = whole_message(p + at, length - at);
		const char *wrong = h ? check_delete(h) : "malformed message";
		if (wrong) {
			send_result(request, EPERM, count, 0, wrong);
			return;
		}
		at += h->nlmsg_len;
		count++;
	}
	if (count == 0) {
		refuse(request, "nothing to delete");
		return;
	}
	if (open_transact() < 0 || send_netlink(transact_fd, p, length) < 0) error = errno;
	else error = collect_errors(transact_fd, ENOENT, &gone, &index, text, sizeof text);
	send_result(request, error, error ? index : count - gone, 0, text);
}

static void dump_set(uint32_t request, uint8_t *p, uint32_t length)
{
	const struct nlmsghdr *h = whole_message(p, length);
	const char *wrong = h && h->nlmsg_len == length ? check_set_message(h, 1) : "malformed message";
	if (wrong) refuse(request, wrong);
	else start_dump(request, NETLINK_NETFILTER, p, 0, 0, 0);
}

/* ---- the ruleset file ---- */

static void open_ruleset(const char *path)
{
	struct stat s;
	ruleset_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (ruleset_fd < 0 || fstat(ruleset_fd, &s) < 0) die(path);
	if (!S_ISREG(s.st_mode)) {
		errno = EINVAL;
		die(path);
	}
	if (getauxval(AT_SECURE) && (s.st_uid != 0 || (s.st_mode & (S_IWGRP | S_IWOTH)))) {
		dprintf(2, "spin-usp-helper: %s must belong to root and be writable by root alone\n", path);
		exit(1);
	}
}

static void exec_nft(int pipe_end)
{
	static const char *const places[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft" };
	char *const arguments[] = { "nft", "-f", "-", NULL };
	char *const environment[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	signal(SIGPIPE, SIG_DFL);
	if (dup2(ruleset_fd, 0) < 0 || dup2(pipe_end, 1) < 0 || dup2(pipe_end, 2) < 0) _exit(126);
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) execve(places[i], arguments, environment);
	dprintf(2, "nft: %s\n", strerror(errno));
	_exit(127);
}

static void load_ruleset(uint32_t request)
{
	int ends[2];
	if (ruleset_fd < 0) {
		refuse(request, "started without a ruleset file");
		return;
	}
	if (nft.fd >= 0) {
		send_result(request, EBUSY, NO_INDEX, 0, "a load is under way");
		return;
	}
	if (lseek(ruleset_fd, 0, SEEK_SET) < 0 || pipe2(ends, O_CLOEXEC) < 0) {
		send_result(request, errno, NO_INDEX, 0, "nft");
		return;
	}
	nft.pid = fork();
	if (nft.pid == 0) exec_nft(ends[1]);
	close(ends[1]);
	if (nft.pid < 0) {
		send_result(request, errno, NO_INDEX, 0, "fork");
		close(ends[0]);
		return;
	}
	nft.last = nft.pid;
	nft.fd = ends[0];
	nft.request = request;
	nft.length = 0;
	nft.deadline = now_ms() + 20000;
}

/* Takes what nft says; at its end, tells Node. */
static void read_nft(void)
{
	char spill[512];
	size_t room = sizeof nft.text - 64 - nft.length;
	ssize_t n = room ? read(nft.fd, nft.text + nft.length, room) : read(nft.fd, spill, sizeof spill);
	int status;
	if (n > 0) {
		if (room) nft.length += (size_t)n;
		return;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	close(nft.fd);
	nft.fd = -1;
	while (waitpid(nft.pid, &status, 0) < 0 && errno == EINTR) continue;
	nft.text[nft.length] = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		send_result(nft.request, 0, NO_INDEX, 0, "");
		return;
	}
	memmove(nft.text + 60, nft.text, nft.length + 1);
	n = WIFEXITED(status) ? snprintf(nft.text, 60, "nft exited with %d: ", WEXITSTATUS(status))
			      : snprintf(nft.text, 60, "nft ended by signal %d: ", WTERMSIG(status));
	memmove(nft.text + n, nft.text + 60, nft.length + 1);
	send_result(nft.request, EINVAL, NO_INDEX, 0, nft.text);
}

/* ---- accounting ---- */

/* Switches on what conntrack needs to count and to tell, and says how each setting stands: `name value` lines. */
static void prepare(uint32_t request)
{
	static const struct { const char *name, *wanted; } settings[] = {
		{ "nf_conntrack_acct", "1" }, { "nf_conntrack_events", "1" }, { "nf_conntrack_timestamp", "1" },
		{ "nf_conntrack_max", NULL }, { "nf_conntrack_count", NULL },
	};
	char text[512] = "", path[96], value[24];
	size_t used = 0;
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		ssize_t n = -1;
		int fd;
		snprintf(path, sizeof path, "/proc/sys/net/netfilter/%s", settings[i].name);
		if (settings[i].wanted && (fd = open(path, O_WRONLY | O_CLOEXEC)) >= 0) {
			n = write(fd, settings[i].wanted, 1); /* whether it took is read below */
			close(fd);
		}
		if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
			n = read(fd, value, sizeof value - 1);
			close(fd);
		}
		while (n > 0 && value[n - 1] == '\n') n--;
		value[n > 0 ? n : 0] = 0;
		used += (size_t)snprintf(text + used, sizeof text - used, "%s %s\n", settings[i].name, n > 0 ? value : "-");
	}
	send_result(request, 0, NO_INDEX, 0, text);
}

/* ---- requests ---- */

static void handle(uint32_t kind, uint32_t request, uint8_t *p, uint32_t length)
{
	static const int neighbours[] = { RTNLGRP_NEIGH, 0 };
	static const int route[] = { RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV6_ROUTE, 0 };
	static const int ruleset[] = { NFNLGRP_NFTABLES, 0 };
	static const uint8_t expected[] = { [CONNTRACK] = 8, [DUMP_CONNTRACK] = 8, [PACKET_LOG] = 16, [ROUTE] = 4, [DUMP_ROUTE] = 8, [FORGET] = 4,
					    [RELEASE] = 4 };
	uint32_t w[4] = { 0 };
	if (kind == TRANSACT) transact(request, p, length);
	else if (kind == DUMP_SET) dump_set(request, p, length);
	else if (kind == DELETE_CONNTRACK) delete_conntrack(request, p, length);
	else if (kind == HOLD) hold_answers(request, p, length);
	else if (kind < CONNTRACK || kind > RELEASE) refuse(request, "no such request");
	else if (length != (kind < sizeof expected ? expected[kind] : 0)) refuse(request, "length of the request");
	else {
		if (length) memcpy(w, p, length);
		if (kind == CONNTRACK) subscribe_conntrack(request, w[0] > 1000 ? 1000 : w[0], w[1]);
		else if (kind == DUMP_CONNTRACK) dump_conntrack(request, w[0], w[1]);
		else if (kind == PACKET_LOG) subscribe_log(request, w[0], w[1], w[2], w[3] > 1000 ? 1000 : w[3]);
		else if (kind == ROUTE) subscribe_one(kind, request, NETLINK_ROUTE, 2 << 20, 5, w[0] ? neighbours : route);
		else if (kind == DUMP_ROUTE) dump_route(request, w[0], w[1]);
		else if (kind == RULESET) subscribe_one(kind, request, NETLINK_NETFILTER, 4 << 20, 20, ruleset);
		else if (kind == PREPARE) prepare(request);
		else if (kind == RELEASE) release(w[0]);
		else if (kind == FORGET) {
			forget(w[0]);
			send_result(request, 0, NO_INDEX, 0, "");
		}
		else load_ruleset(request);
	}
}

/* Reads stdin and serves each whole frame. A frame over the limit is refused and its payload skipped. */
static void read_requests(void)
{
	static uint8_t *buffer;
	static uint32_t size, used;
	static uint64_t skip;
	uint32_t at = 0;
	ssize_t n;
	if (size - used < 65536) {
		uint8_t *grown = realloc(buffer, size + 65536 + used);
		if (!grown) die("memory");
		buffer = grown;
		size += 65536 + used;
	}
	n = read(0, buffer + used, size - used);
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n <= 0) {
		flush_out(1);
		exit(0);
	}
	used += (uint32_t)n;
	for (;;) {
		uint32_t header[3], padded;
		if (skip) {
			uint32_t step = skip < used - at ? (uint32_t)skip : used - at;
			at += step;
			skip -= step;
			if (skip) break;
		}
		if (used - at < FRAME_HEADER) break;
		memcpy(header, buffer + at, FRAME_HEADER);
		if (header[0] > FRAME_LIMIT) {
			send_result(header[1], EMSGSIZE, NO_INDEX, 0, "frame too long");
			skip = (uint64_t)FRAME_HEADER + (((uint64_t)header[0] + 3) & ~3ull);
			continue;
		}
		padded = (header[0] + 3) & ~3u;
		if (used - at < FRAME_HEADER + padded) break;
		/* The kernel reads messages in place, and so do we: they must be aligned. */
		if (at % 4) {
			memmove(buffer, buffer + at, used - at);
			used -= at;
			at = 0;
		}
		handle(header[2], header[1], buffer + at + FRAME_HEADER, header[0]);
		at += FRAME_HEADER + padded;
	}
	memmove(buffer, buffer + at, used - at);
	used -= at;
}

/* ---- start ---- */

/* Keeps CAP_NET_ADMIN and lets nft inherit it; gives up the rest for good. The effective set that is left. */
static uint32_t drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };
	uint32_t admin = 1u << CAP_NET_ADMIN;
	if (syscall(SYS_capget, &header, data) < 0) die("capget");
	for (int cap = 0; cap < 64; cap++)
		if (cap != CAP_NET_ADMIN) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	admin &= data[0].permitted;
	memset(data, 0, sizeof data);
	data[0].permitted = data[0].effective = data[0].inheritable = admin;
	if (syscall(SYS_capset, &header, data) < 0) die("capset");
	if (admin) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return admin;
}

static int timeout_ms(int64_t now, int64_t due, int current)
{
	int64_t left = due > now ? due - now : 0;
	return current < 0 || left < current ? (int)left : current;
}

int main(int argc, char **argv)
{
	struct pollfd polled[2 + SUBSCRIPTIONS + DUMPS + 1];
	int sndbuf = 1 << 20;
	if (argc == 3 && !strcmp(argv[1], "--ruleset")) open_ruleset(argv[2]);
	else if (argc != 1) {
		dprintf(2, "usage: spin-usp-helper [--ruleset FILE]   (started by spin-usp; speaks frames on stdin and stdout)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	atexit(end_hold_at_exit);
	fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	out = malloc(out_size = OUT_SIZE);
	if (!out) die("memory");
	for (int i = 0; i < SUBSCRIPTIONS; i++) subscriptions[i].fd = -1;
	for (int i = 0; i < DUMPS; i++) dumps[i].fd = -1;
	if (setsockopt(1, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof sndbuf) < 0)
		setsockopt(1, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	send_words(HELLO, 0, 0x01020304, PROTOCOL_VERSION, drop_privileges(), "");
	for (;;) {
		int64_t now = now_ms();
		int timeout = -1, any = 0;
		uint32_t waiting;
		flush_out(0);
		waiting = out_used - out_sent;
		memset(polled, 0, sizeof polled);
		polled[0] = (struct pollfd){ .fd = waiting < OUT_LIMIT ? 0 : -1, .events = POLLIN };
		polled[2 + SUBSCRIPTIONS + DUMPS] = (struct pollfd){ .fd = waiting ? 1 : -1, .events = POLLOUT };
		polled[1] = (struct pollfd){ .fd = nft.fd, .events = POLLIN };
		if (nft.fd >= 0) timeout = timeout_ms(now, nft.deadline, timeout);
		for (int i = 0; i < SUBSCRIPTIONS; i++) {
			struct subscription *s = &subscriptions[i];
			int ready = (s->due <= now && waiting < OUT_LIMIT) || s->kind == HOLD;
			polled[2 + i] = (struct pollfd){ .fd = ready ? s->fd : -1, .events = POLLIN };
			if (s->fd >= 0 && s->due > now) timeout = timeout_ms(now, s->due, timeout);
		}
		if (held.marks) timeout = timeout_ms(now, held.mark[held.first].due, timeout);
		for (int i = 0; i < DUMPS; i++) {
			struct dump *d = &dumps[i];
			int ready = d->due <= now && waiting < OUT_DUMPS;
			polled[2 + SUBSCRIPTIONS + i] = (struct pollfd){ .fd = ready ? d->fd : -1, .events = POLLIN };
			if (d->fd >= 0 && d->due > now) timeout = timeout_ms(now, d->due, timeout);
		}
		if (poll(polled, sizeof polled / sizeof *polled, timeout) < 0) {
			if (errno != EINTR) die("poll");
			continue;
		}
		/* When one is read, so are the others, ahead of their time: Node wakes for it anyway. */
		for (int i = 0; i < SUBSCRIPTIONS; i++) {
			if (subscriptions[i].fd < 0 || !polled[2 + i].revents) continue;
			if (waiting < OUT_LIMIT) any = 1;
			else drain_held(&subscriptions[i]);
		}
		for (int i = 0; any && i < SUBSCRIPTIONS; i++)
			if (subscriptions[i].fd < 0) continue;
			else if (subscriptions[i].kind == CONNTRACK_ENDS) drain_ends(&subscriptions[i]);
			else if (subscriptions[i].kind == HOLD) drain_held(&subscriptions[i]);
			else drain(&subscriptions[i]);
		tell_late();
		for (int i = 0; i < DUMPS; i++)
			if (dumps[i].fd >= 0 && polled[2 + SUBSCRIPTIONS + i].revents) read_dump(&dumps[i]);
		if (nft.fd >= 0 && polled[1].revents) read_nft();
		if (nft.fd >= 0 && now_ms() > nft.deadline) {
			kill(nft.pid, SIGKILL);
			nft.deadline = now_ms() + 1000;
		}
		if (polled[0].revents) read_requests();
	}
}
