/* Frames to Node, netlink sockets, and messages that we make ourselves. */
#define _GNU_SOURCE
#include "helper.h"

#include <fcntl.h>
#include <poll.h>
#include <time.h>

static uint8_t *out;          /* frames that wait to be written together: Node then wakes once for all */
static uint32_t out_size, out_sent, out_used;

void die(const char *what)
{
	dprintf(2, "spin-usp-helper: %s: %s\n", what, strerror(errno));
	exit(1);
}

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- to Node ---- */

/* Writes what Node takes; with `all`, waits until it took everything. */
void flush_out(int all)
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

void start_out(void)
{
	out = malloc(out_size = OUT_SIZE);
	if (!out) die("memory");
}

/* Bytes that wait for Node. */
uint32_t waiting_out(void)
{
	return out_used - out_sent;
}

/* Where the next frame's payload goes, with room for `length` bytes. */
uint8_t *next_payload(uint32_t length)
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
void end_frame(uint32_t kind, uint32_t request, uint32_t length)
{
	uint32_t padded = (length + 3) & ~3u;
	uint32_t header[3] = { length, request, kind };
	memcpy(out + out_used, header, FRAME_HEADER);
	memset(out + out_used + FRAME_HEADER + length, 0, padded - length);
	out_used += FRAME_HEADER + padded;
}

void send_words(uint32_t kind, uint32_t request, uint32_t a, uint32_t b, uint32_t c, const char *text)
{
	uint32_t words[3] = { a, b, c };
	size_t n = strlen(text);
	uint8_t *payload = next_payload((uint32_t)(sizeof words + n));
	memcpy(payload, words, sizeof words);
	memcpy(payload + sizeof words, text, n);
	end_frame(kind, request, (uint32_t)(sizeof words + n));
}

void send_result(uint32_t request, int error, uint32_t index, uint32_t flags, const char *text)
{
	send_words(RESULT, request, (uint32_t)error, index, flags, text);
}

void refuse(uint32_t request, const char *why)
{
	send_result(request, EPERM, NO_INDEX, 0, why);
}

/* ---- netlink sockets ---- */

int open_netlink(int protocol, uint32_t receive_bytes)
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

int send_netlink(int fd, const void *message, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t n;
	do n = sendto(fd, message, length, 0, (struct sockaddr *)&kernel, sizeof kernel);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

/* Bytes of one datagram from the kernel, or -1 with errno; what others than the kernel send is skipped. */
ssize_t receive_netlink(int fd, void *to, size_t size)
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
int message_error(const struct nlmsghdr *h, char *text, size_t size)
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
 * error that is not `ignored`, how many were, and the sequence number of the message at fault. What the kernel echoes goes
 * to the request `echo`, if that is not 0.
 */
int collect_errors(int fd, uint32_t echo, int ignored, uint32_t *ignored_count, uint32_t *index, char *text, size_t size)
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
			if (h->nlmsg_type != NLMSG_ERROR) {
				if (!echo) continue;
				memcpy(next_payload(h->nlmsg_len), h, h->nlmsg_len);
				end_frame(DATA, echo, h->nlmsg_len);
				continue;
			}
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

/* ---- messages ---- */

void put_attribute(struct nlmsghdr *h, uint16_t type, const void *value, uint16_t length)
{
	struct nlattr *a = (struct nlattr *)((uint8_t *)h + NLMSG_ALIGN(h->nlmsg_len));
	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + length);
	memcpy((uint8_t *)a + NLA_HDRLEN, value, length);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + NLA_ALIGN(a->nla_len);
}

uint32_t be32(uint32_t v)
{
	return __builtin_bswap32(v);
}

uint16_t be16(uint16_t v)
{
	return (uint16_t)(v << 8 | v >> 8);
}

uint32_t begin_nest(struct nlmsghdr *h, uint16_t type)
{
	uint32_t at = NLMSG_ALIGN(h->nlmsg_len);
	put_attribute(h, type | NLA_F_NESTED, "", 0);
	return at;
}

void end_nest(struct nlmsghdr *h, uint32_t at)
{
	((struct nlattr *)((uint8_t *)h + at))->nla_len = (uint16_t)(h->nlmsg_len - at);
}

void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t value)
{
	value = be32(value);
	put_attribute(h, type, &value, sizeof value);
}

void put_u16(struct nlmsghdr *h, uint16_t type, uint16_t value)
{
	value = be16(value);
	put_attribute(h, type, &value, sizeof value);
}

void put_text(struct nlmsghdr *h, uint16_t type, const char *text)
{
	put_attribute(h, type, text, (uint16_t)(strlen(text) + 1));
}

/* Where the message after `h` begins; `h` NULL: at `buffer`. The buffer must be of zeros. */
struct nlmsghdr *next_message(void *buffer, struct nlmsghdr *h, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
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
