/*
 * Frames of one Ethernet interface, through packet sockets. Who asks names the interface and one of four filters, never a
 * filter of his own; the filter is made here, attached before the socket sees anything, and locked:
 *
 *   home    what devices tell a LAN of themselves: ARP; LLDP, DHCP to servers (67, 547) and mDNS (5353). Incoming alone,
 *           of this interface's own network (no VLAN of it), at HOME_RATE a second.
 *   lldp    LLDP alone, for the ports of a bridge: a bridge does not pass it on to itself. Other frames cost nothing.
 *   device  every frame from or to one hardware address, also those that leave.
 *   all     every frame of the interface, also those that leave.
 *
 * No socket is promiscuous. Data: for each frame four words (bytes that follow, bytes that the wire had, seconds and
 * nanoseconds since 1970) and the frame, padded to 4. A VLAN tag that the kernel took out stands in its place again.
 */
#define _GNU_SOURCE
#include "helper.h"

#include <time.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef ETH_P_LLDP
#define ETH_P_LLDP 0x88CC
#endif

/*
 * A home of a hundred devices tells some tens of frames a second. Faster than this they are not read: those that find the
 * kernel's buffer full then cost what the filter costs. ARP has a socket of its own, so that a flood of it crowds out
 * nothing else.
 */
#define HOME_RATE 1000
#define HOME_BURST 1000
#define HOME_BUFFER (512 << 10)
#define HOME_SNAP 1600u
#define HOME_PAUSE_MS 40u
/* What a device sends in a third of a second at 200 Mbit/s; a busy Node loses nothing meanwhile. */
#define DEVICE_BUFFER (8 << 20)
#define DEVICE_SNAP_LEAST 14u
#define DEVICE_SNAP_MOST 65535u
#define DEVICE_PAUSE_MS 20u
/* At once: each holds a buffer in the kernel, and each runs its filter on every packet of its interface. */
#define DEVICE_LIMIT 4
/* Losses are told no more often. */
#define LOSS_MS 1000
/* How often an interface that went down is looked for. */
#define RECHECK_MS 500
#define FRAME_WORDS 16u
#define TAG_BYTES 4u

enum filter { FILTER_HOME = 1, FILTER_LLDP, FILTER_DEVICE, FILTER_ALL };

/* Not what tells of devices, but what they say: rarer, faster, and longer. */
#define IS_CAPTURE(r) ((r)->filter >= FILTER_DEVICE)

struct frames_request { char interface[16]; uint32_t filter; uint8_t mac[6], unused[2]; uint32_t snap; };

#define LOAD(size, at) BPF_STMT(BPF_LD | (size) | BPF_ABS, (uint32_t)(at))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(bytes) BPF_STMT(BPF_RET | BPF_K, bytes)

/* Passes what came in for this interface's own network: 7 instructions, of which the last leads to what follows or DROPs. */
#define INCOMING(drop) \
	LOAD(BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE), \
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, PACKET_OTHERHOST, (drop) - 2, 0), \
	LOAD(BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT), \
	IF_EQUAL(0, 3, 0), \
	LOAD(BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG), \
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfff), \
	IF_EQUAL(0, 0, (drop) - 7)

static int attach(int fd, struct sock_filter *code, size_t length)
{
	struct sock_fprog program = { .len = (unsigned short)length, .filter = code };
	int on = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0) return -1;
	return setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on);
}

/* The socket is bound to one protocol; what comes is that. */
static int attach_one_protocol(int fd)
{
	struct sock_filter code[] = {
		INCOMING(8),
		RETURN(HOME_SNAP),
		RETURN(0),
	};
	return attach(fd, code, sizeof code / sizeof *code);
}

/* LLDP; UDP to ports 67, 547 and 5353, not in later fragments. */
static int attach_announcements(int fd)
{
	enum { DROP = 26 };
	struct sock_filter code[] = {
		INCOMING(DROP),
		/*  7 */ LOAD(BPF_H, 12),
		/*  8 */ IF_EQUAL(ETH_P_LLDP, 16, 0),
		/*  9 */ IF_EQUAL(ETH_P_IP, 1, 0),
		/* 10 */ IF_EQUAL(ETH_P_IPV6, 8, DROP - 11),
		/* 11 */ LOAD(BPF_B, 14 + 9),
		/* 12 */ IF_EQUAL(IPPROTO_UDP, 0, DROP - 13),
		/* 13 */ LOAD(BPF_H, 14 + 6),
		/* 14 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, DROP - 15, 0),
		/* 15 */ BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14),
		/* 16 */ BPF_STMT(BPF_LD | BPF_H | BPF_IND, 14 + 2),
		/* 17 */ IF_EQUAL(67, 7, 0),
		/* 18 */ IF_EQUAL(5353, 6, DROP - 19),
		/* 19 */ LOAD(BPF_B, 14 + 6),
		/* 20 */ IF_EQUAL(IPPROTO_UDP, 0, DROP - 21),
		/* 21 */ LOAD(BPF_H, 14 + 40 + 2),
		/* 22 */ IF_EQUAL(547, 2, 0),
		/* 23 */ IF_EQUAL(5353, 1, 0),
		/* 24 */ BPF_STMT(BPF_JMP | BPF_JA, DROP - 25),
		/* 25 */ RETURN(HOME_SNAP),
		/* 26 */ RETURN(0),
	};
	return attach(fd, code, sizeof code / sizeof *code);
}

static int attach_device(int fd, const uint8_t mac[6], uint32_t snap)
{
	uint32_t high = (uint32_t)mac[0] << 8 | mac[1];
	uint32_t low = (uint32_t)mac[2] << 24 | (uint32_t)mac[3] << 16 | (uint32_t)mac[4] << 8 | mac[5];
	struct sock_filter code[] = {
		LOAD(BPF_W, 2), IF_EQUAL(low, 0, 2), LOAD(BPF_H, 0), IF_EQUAL(high, 4, 0),
		LOAD(BPF_W, 8), IF_EQUAL(low, 0, 3), LOAD(BPF_H, 6), IF_EQUAL(high, 0, 1),
		RETURN(snap),
		RETURN(0),
	};
	return attach(fd, code, sizeof code / sizeof *code);
}

static int attach_all(int fd, uint32_t snap)
{
	struct sock_filter code[] = { RETURN(snap) };
	return attach(fd, code, sizeof code / sizeof *code);
}

/* The number of an Ethernet interface; 0 with errno and in `why` what is wrong. */
static int interface_number(const char *name, const char **why)
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), number = 0;
	*why = "socket";
	if (fd < 0) return 0;
	memcpy(r.ifr_name, name, sizeof r.ifr_name);
	*why = "there is no such interface";
	if (ioctl(fd, SIOCGIFINDEX, &r) == 0) number = r.ifr_ifindex;
	if (number && (ioctl(fd, SIOCGIFHWADDR, &r) < 0 || r.ifr_hwaddr.sa_family != ARPHRD_ETHER)) {
		*why = "not an Ethernet interface";
		errno = EINVAL;
		number = 0;
	}
	close(fd);
	return number;
}

static int open_frames(const struct frames_request *r, int interface, uint16_t protocol)
{
	int on = 1, size = IS_CAPTURE(r) ? DEVICE_BUFFER : HOME_BUFFER, error;
	struct sockaddr_ll local = { .sll_family = AF_PACKET, .sll_protocol = be16(protocol), .sll_ifindex = interface };
	/* Without a protocol it sees nothing until it is bound. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0) return -1;
	if (r->filter == FILTER_DEVICE) error = attach_device(fd, r->mac, r->snap);
	else if (r->filter == FILTER_ALL) error = attach_all(fd, r->snap);
	else error = protocol == ETH_P_ALL ? attach_announcements(fd) : attach_one_protocol(fd);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
	/* Kernels before 4.20 do not know it; the filter then does the same. */
	if (!IS_CAPTURE(r)) setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on);
	if (!error) error = setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on);
	if (!error) error = bind(fd, (struct sockaddr *)&local, sizeof local);
	if (!error) return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int may_open(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };
	return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_NET_RAW);
}

/* 0, or -1 after the refusal has been sent. */
static int add_frames(uint32_t kind, uint32_t request, const struct frames_request *r, int interface, uint16_t protocol)
{
	int fd = open_frames(r, interface, protocol);
	struct subscription *s;
	if (fd < 0) {
		send_result(request, errno, NO_INDEX, 0, "packet socket");
		return -1;
	}
	if (add_subscription(kind, request, fd, IS_CAPTURE(r) ? DEVICE_PAUSE_MS : HOME_PAUSE_MS) < 0) return -1;
	for (s = subscriptions; s->fd != fd; s++) continue;
	s->snap = IS_CAPTURE(r) ? r->snap : HOME_SNAP;
	s->rate = IS_CAPTURE(r) ? 0 : HOME_RATE;
	s->refilled = now_ms();
	s->allowance = HOME_BURST;
	return 0;
}

static const char *check(const struct frames_request *r)
{
	int devices = 0;
	if (!r->interface[0] || r->interface[sizeof r->interface - 1]) return "name of an interface";
	if (r->filter < FILTER_HOME || r->filter > FILTER_ALL) return "no such filter";
	if (!IS_CAPTURE(r)) return NULL;
	if (r->snap < DEVICE_SNAP_LEAST || r->snap > DEVICE_SNAP_MOST) return "snap length out of range";
	if (r->filter == FILTER_DEVICE && (r->mac[0] & 1 || !memcmp(r->mac, (uint8_t[6]){ 0 }, 6)))
		return "hardware address of no device";
	for (int i = 0; i < SUBSCRIPTIONS; i++)
		if (subscriptions[i].fd >= 0 && subscriptions[i].kind == FRAMES && !subscriptions[i].rate) devices++;
	return devices < DEVICE_LIMIT ? NULL : "too many captures at once";
}

void subscribe_frames(uint32_t request, const uint8_t *p, uint32_t length)
{
	struct frames_request r;
	const char *wrong;
	int interface;
	if (length != sizeof r) {
		refuse(request, "length of the request");
		return;
	}
	memcpy(&r, p, sizeof r);
	if ((wrong = check(&r))) {
		refuse(request, wrong);
		return;
	}
	if (!may_open()) {
		refuse(request, "the helper lacks CAP_NET_RAW: setcap cap_net_admin,cap_net_raw+ep on it, or run as root");
		return;
	}
	interface = interface_number(r.interface, &wrong);
	if (!interface) {
		send_result(request, errno, NO_INDEX, 0, wrong);
		return;
	}
	if (add_frames(FRAMES, request, &r, interface, r.filter == FILTER_LLDP ? ETH_P_LLDP : ETH_P_ALL) < 0) return;
	if (r.filter == FILTER_HOME && add_frames(FRAMES, request, &r, interface, ETH_P_ARP) < 0) forget(request);
	else send_result(request, 0, NO_INDEX, 0, "");
}

/* One frame of the socket to `to`, with its words; bytes used, or -1 with errno. */
static ssize_t receive_frame(const struct subscription *s, uint8_t *to)
{
	uint8_t control[256] __attribute__((aligned(8)));
	uint8_t *frame = to + FRAME_WORDS + TAG_BYTES;
	struct iovec place = { .iov_base = frame, .iov_len = s->snap };
	struct msghdr m = { .msg_iov = &place, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct tpacket_auxdata aux = { 0 };
	struct timespec time = { 0 };
	uint32_t words[4], captured;
	ssize_t n;
	do n = recvmsg(s->fd, &m, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0) return -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA && c->cmsg_len >= CMSG_LEN(sizeof aux))
			memcpy(&aux, CMSG_DATA(c), sizeof aux);
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS && c->cmsg_len >= CMSG_LEN(sizeof time))
			memcpy(&time, CMSG_DATA(c), sizeof time);
	}
	if (!time.tv_sec) clock_gettime(CLOCK_REALTIME, &time);
	captured = (uint32_t)n;
	words[1] = aux.tp_len > captured ? aux.tp_len : captured;
	if ((aux.tp_status & TP_STATUS_VLAN_VALID) && captured >= 12) {
		uint16_t tag[2] = { be16(aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q), be16(aux.tp_vlan_tci) };
		memmove(to + FRAME_WORDS, frame, 12);
		memcpy(to + FRAME_WORDS + 12, tag, TAG_BYTES);
		captured += TAG_BYTES;
		words[1] += TAG_BYTES;
		if (captured > s->snap) captured = s->snap;
	} else
		memmove(to + FRAME_WORDS, frame, captured);
	words[0] = captured;
	words[2] = (uint32_t)time.tv_sec;
	words[3] = (uint32_t)time.tv_nsec;
	memcpy(to, words, FRAME_WORDS);
	memset(to + FRAME_WORDS + captured, 0, (4 - captured % 4) % 4);
	return (ssize_t)(FRAME_WORDS + ((captured + 3) & ~3u));
}

/* An interface that goes for good goes down first, and the kernel reports that alone. */
static int is_gone(const struct subscription *s)
{
	struct sockaddr_ll local = { 0 };
	socklen_t length = sizeof local;
	return getsockname(s->fd, (struct sockaddr *)&local, &length) < 0 || local.sll_ifindex <= 0;
}

/* What found the buffer full since the last reading; `throttled`: because we did not want to read then. */
static void count_drops(struct subscription *s, int throttled)
{
	struct tpacket_stats statistics = { 0 };
	socklen_t length = sizeof statistics;
	if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length) < 0) return;
	if (throttled) s->passed += statistics.tp_drops;
	else s->lost += statistics.tp_drops;
}

static void refill(struct subscription *s)
{
	int64_t now = now_ms(), earned = (now - s->refilled) * s->rate / 1000;
	if (earned <= 0) return;
	s->allowance = s->allowance + earned > HOME_BURST ? HOME_BURST : s->allowance + (int32_t)earned;
	s->refilled = now;
}

/* Passes on what waits, as far as the rate and what waits for Node already allow. */
void drain_frames(struct subscription *s)
{
	uint32_t used = 0, room = RECV_SIZE + FRAME_WORDS + TAG_BYTES + s->snap + 4;
	uint8_t *payload;
	int empty = 0, throttled = s->rate && s->allowance < 1;
	if (s->rate) refill(s);
	payload = next_payload(room);
	while (!empty && waiting_out() + used < OUT_DUMPS && (!s->rate || s->allowance > 0)) {
		ssize_t n = receive_frame(s, payload + used);
		if (n < 0 && errno == EAGAIN) empty = 1;
		else if (n < 0 && errno != ENETDOWN) die("receive");
		else if (n < 0) s->recheck = now_ms();
		else {
			used += (uint32_t)n;
			s->recheck = 0;
			s->allowance--;
		}
		if (used <= RECV_SIZE) continue;
		end_frame(DATA, s->request, used);
		payload = next_payload(room);
		used = 0;
	}
	if (used) end_frame(DATA, s->request, used);
	count_drops(s, throttled);
	set_due(s, empty);
	if (s->rate && s->allowance <= 0) s->due = now_ms() + HOME_PAUSE_MS;
}

/* When something is to be done for one of them, ms; -1 if nothing is. */
int64_t frames_due(void)
{
	int64_t due = -1;
	for (int i = 0; i < SUBSCRIPTIONS; i++) {
		const struct subscription *s = &subscriptions[i];
		if (s->fd < 0 || s->kind != FRAMES) continue;
		if ((s->lost | s->passed) && (due < 0 || s->told + LOSS_MS < due)) due = s->told + LOSS_MS;
		if (s->recheck && (due < 0 || s->recheck < due)) due = s->recheck;
	}
	return due;
}

/* Tells losses that are due, and ends subscriptions whose interface has gone. */
void look_after_frames(void)
{
	int64_t now = now_ms();
	for (int i = 0; i < SUBSCRIPTIONS; i++) {
		struct subscription *s = &subscriptions[i];
		if (s->fd < 0 || s->kind != FRAMES) continue;
		if ((s->lost | s->passed) && s->told + LOSS_MS <= now) {
			send_words(LOSS, s->request, s->lost, s->passed, 0, "");
			s->lost = s->passed = 0;
			s->told = now;
		}
		if (s->recheck && s->recheck <= now) {
			uint32_t request = s->request;
			s->recheck = now + RECHECK_MS;
			if (!is_gone(s)) continue;
			forget(request);
			send_result(request, ENODEV, NO_INDEX, 0, "the interface is gone");
		}
	}
}
