/*
 * spin-usp-helper: the one process of spin-usp that holds CAP_NET_ADMIN and CAP_NET_RAW. It listens to the kernel
 * (conntrack, NFLOG, rtnetlink, nftables, packet sockets) and passes its messages on to stdout as they are; on stdin it
 * takes requests. Meaning is decoded in TypeScript (src/netlink, src/capture); here stand only transport and the limits of
 * trust.
 *
 * Who starts it is not trusted with more than this:
 *   - subscriptions and dumps, of the kinds below;
 *   - nftables batches of NEWSETELEM and DELSETELEM, without expressions, on tables named exactly "spin_usp" of the
 *     families inet and bridge;
 *   - conntrack deletes that name a tuple, never a flush;
 *   - holding DNS answers back for a moment: the helper makes the rule and the queue itself, and all that it ever says of a
 *     packet is "accept", when Node asks or by itself soon after;
 *   - frames of one interface, through one of four filters that frames.c makes; it sends none;
 *   - three conntrack settings switched on (accounting, events, time stamps);
 *   - `nft -f -` with one of two files that were opened at the start as its stdin: no shell, no other arguments, no
 *     environment. When file capabilities gave us more than the caller has (AT_SECURE), the files must belong to root and
 *     be writable by root alone.
 * Every field is checked against its bounds, attributes may come once, and whatever is not listed is refused. Netlink
 * flag bits in an attribute's type are masked as the kernel masks them, so that no second reading is possible.
 *
 * main.c takes requests, runs nft and waits; wire.c writes to Node and speaks netlink; listen.c subscribes and dumps;
 * frames.c reads frames; hold.c holds DNS answers; limits.c is what is let through to the kernel.
 *
 * Frames, both ways: u32 payload length, u32 request number, u32 kind, payload padded to 4 (src/netlink/frames.ts).
 *
 * Privileges: CAP_NET_ADMIN, and CAP_NET_RAW for frames, without which all else works. Install with
 * `setcap cap_net_admin,cap_net_raw+ep`, or have the service manager grant them, or start as root. nft gets the first alone.
 * It ends when its stdin closes, so with its parent.
 */
#define _GNU_SOURCE
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

/* As in src/netlink/frames.ts: goes up with any change of what is taken, given or let through. */
#define PROTOCOL_VERSION 3

/* Of the families inet and bridge. */
static int ruleset_fds[2] = { -1, -1 };
static struct { pid_t pid; int fd; uint32_t request; int64_t deadline; char text[4096]; size_t length; } nft = { .fd = -1 };
pid_t nft_pids[NFT_PIDS];

/* ---- the ruleset file ---- */

static int open_ruleset(const char *path)
{
	struct stat s;
	int ruleset_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (ruleset_fd < 0 || fstat(ruleset_fd, &s) < 0) die(path);
	if (!S_ISREG(s.st_mode)) {
		errno = EINVAL;
		die(path);
	}
	if (getauxval(AT_SECURE) && (s.st_uid != 0 || (s.st_mode & (S_IWGRP | S_IWOTH)))) {
		dprintf(2, "spin-usp-helper: %s must belong to root and be writable by root alone\n", path);
		exit(1);
	}
	return ruleset_fd;
}

static void exec_nft(int ruleset_fd, int pipe_end)
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

static void load_ruleset(uint32_t request, uint32_t which)
{
	static unsigned runs;
	int ends[2], ruleset_fd = which < 2 ? ruleset_fds[which] : -1;
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
	if (nft.pid == 0) exec_nft(ruleset_fd, ends[1]);
	close(ends[1]);
	if (nft.pid < 0) {
		send_result(request, errno, NO_INDEX, 0, "fork");
		close(ends[0]);
		return;
	}
	nft_pids[runs++ % NFT_PIDS] = nft.pid;
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
					    [LOAD_RULESET] = 4, [RELEASE] = 4 };
	uint32_t w[4] = { 0 };
	if (kind == TRANSACT) transact(request, p, length);
	else if (kind == DUMP_SET) dump_set(request, p, length);
	else if (kind == DELETE_CONNTRACK) delete_conntrack(request, p, length);
	else if (kind == HOLD) hold_answers(request, p, length);
	else if (kind == FRAMES) subscribe_frames(request, p, length);
	else if (kind < CONNTRACK || kind > FRAMES) refuse(request, "no such request");
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
		else load_ruleset(request, w[0]);
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

/* Keeps CAP_NET_ADMIN, which nft inherits, and CAP_NET_RAW, which it does not; gives up the rest for good. What is left. */
static uint32_t drop_privileges(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };
	uint32_t admin = 1u << CAP_NET_ADMIN, raw = 1u << CAP_NET_RAW;
	if (syscall(SYS_capget, &header, data) < 0) die("capget");
	for (int cap = 0; cap < 64; cap++)
		if (cap != CAP_NET_ADMIN) prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	admin &= data[0].permitted;
	raw &= data[0].permitted;
	memset(data, 0, sizeof data);
	data[0].permitted = data[0].effective = admin | raw;
	data[0].inheritable = admin;
	if (syscall(SYS_capset, &header, data) < 0) die("capset");
	if (admin) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return admin | raw;
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
	if ((argc == 3 || argc == 4) && !strcmp(argv[1], "--ruleset"))
		for (int i = 2; i < argc; i++) ruleset_fds[i - 2] = open_ruleset(argv[i]);
	else if (argc != 1) {
		dprintf(2, "usage: spin-usp-helper [--ruleset FILE [BRIDGE-FILE]]   (started by spin-usp; speaks frames on stdin and stdout)\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	atexit(end_hold_at_exit);
	fcntl(1, F_SETFL, fcntl(1, F_GETFL) | O_NONBLOCK);
	start_out();
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
		waiting = waiting_out();
		memset(polled, 0, sizeof polled);
		polled[0] = (struct pollfd){ .fd = waiting < OUT_LIMIT ? 0 : -1, .events = POLLIN };
		polled[2 + SUBSCRIPTIONS + DUMPS] = (struct pollfd){ .fd = waiting ? 1 : -1, .events = POLLOUT };
		polled[1] = (struct pollfd){ .fd = nft.fd, .events = POLLIN };
		if (nft.fd >= 0) timeout = timeout_ms(now, nft.deadline, timeout);
		for (int i = 0; i < SUBSCRIPTIONS; i++) {
			struct subscription *s = &subscriptions[i];
			uint32_t limit = s->kind == FRAMES ? OUT_DUMPS : OUT_LIMIT;
			int ready = (s->due <= now && waiting < limit) || s->kind == HOLD;
			polled[2 + i] = (struct pollfd){ .fd = ready ? s->fd : -1, .events = POLLIN };
			if (s->fd >= 0 && s->due > now) timeout = timeout_ms(now, s->due, timeout);
		}
		if (held_due() >= 0) timeout = timeout_ms(now, held_due(), timeout);
		if (frames_due() >= 0) timeout = timeout_ms(now, frames_due(), timeout);
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
			else if (subscriptions[i].kind == FRAMES) drain_frames(&subscriptions[i]);
			else drain(&subscriptions[i]);
		tell_late();
		look_after_frames();
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
