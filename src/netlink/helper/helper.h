/* What the parts of the helper (main.c) share. */
#ifndef HELPER_H
#define HELPER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

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
/* Of frames there is one for each interface of the LAN (two sockets), each port of its bridges and each capture. */
#define SUBSCRIPTIONS 64
#define DUMPS 4
/* DNS answers wait no longer than this for Node. */
#define HOLD_MS 80

enum request_kind {
	CONNTRACK = 1, DUMP_CONNTRACK, PACKET_LOG, ROUTE, DUMP_ROUTE, RULESET, TRANSACT, DUMP_SET, DELETE_CONNTRACK,
	LOAD_RULESET, PREPARE, FORGET, HOLD, RELEASE, FRAMES,
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
	/* Of frames. */
	uint32_t snap, rate;  /* bytes of each; how many a second, 0: all */
	int64_t refilled;     /* ms; when `allowance`, how many may be read now, was reckoned */
	int32_t allowance;
	uint32_t passed;      /* not read because of the rate */
	int64_t told;         /* ms; when losses were told last */
	int64_t recheck;      /* ms; when to look whether the interface is still there; 0: it is */
};

struct dump {
	int fd;
	uint32_t request, buffers, pause, flags;
	int ordered;          /* conntrack: events that are waiting go first */
	int64_t due;
};

extern struct subscription subscriptions[SUBSCRIPTIONS];
extern struct dump dumps[DUMPS];
/* By whom the ruleset was changed when it was us: the socket of transactions, the runs of nft that were the last. */
extern uint32_t transact_port;
#define NFT_PIDS 4
extern pid_t nft_pids[NFT_PIDS];

/* wire.c: frames to Node, netlink sockets, netlink messages. */
void die(const char *what);
int64_t now_ms(void);
void start_out(void);
uint32_t waiting_out(void);
void flush_out(int all);
uint8_t *next_payload(uint32_t length);
void end_frame(uint32_t kind, uint32_t request, uint32_t length);
void send_words(uint32_t kind, uint32_t request, uint32_t a, uint32_t b, uint32_t c, const char *text);
void send_result(uint32_t request, int error, uint32_t index, uint32_t flags, const char *text);
void refuse(uint32_t request, const char *why);
int open_netlink(int protocol, uint32_t receive_bytes);
int send_netlink(int fd, const void *message, size_t length);
ssize_t receive_netlink(int fd, void *to, size_t size);
int message_error(const struct nlmsghdr *h, char *text, size_t size);
int collect_errors(int fd, uint32_t echo, int ignored, uint32_t *ignored_count, uint32_t *index, char *text, size_t size);
uint32_t be32(uint32_t v);
uint16_t be16(uint16_t v);
struct nlmsghdr *next_message(void *buffer, struct nlmsghdr *h, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource);
void put_attribute(struct nlmsghdr *h, uint16_t type, const void *value, uint16_t length);
void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t value);
void put_u16(struct nlmsghdr *h, uint16_t type, uint16_t value);
void put_text(struct nlmsghdr *h, uint16_t type, const char *text);
uint32_t begin_nest(struct nlmsghdr *h, uint16_t type);
void end_nest(struct nlmsghdr *h, uint32_t at);

/* listen.c: subscriptions and dumps. */
int add_subscription(uint32_t kind, uint32_t request, int fd, uint32_t pause);
void forget(uint32_t subscription);
void subscribe_conntrack(uint32_t request, uint32_t pause, uint32_t bytes);
void subscribe_one(uint32_t kind, uint32_t request, int protocol, uint32_t bytes, uint32_t pause, const int *groups);
void subscribe_log(uint32_t request, uint32_t group, uint32_t snap, uint32_t threshold, uint32_t pause);
void set_due(struct subscription *s, int empty);
int drain(struct subscription *s);
void drain_kind(uint32_t kind, uint32_t request);
void drain_ends(struct subscription *s);
void start_dump(uint32_t request, int protocol, void *message, uint32_t buffers, uint32_t pause, int ordered);
void read_dump(struct dump *d);
void dump_conntrack(uint32_t request, uint32_t buffers, uint32_t pause);
void dump_route(uint32_t request, uint32_t type, uint32_t family);

/* hold.c: DNS answers that wait. */
void hold_answers(uint32_t request, const uint8_t *names, uint32_t length);
void release(uint32_t id);
void drain_held(struct subscription *s);
void tell_late(void);
void serve_held(void);
void end_hold(struct subscription *s);
void end_hold_at_exit(void);
int64_t held_due(void);

/* frames.c: frames of an interface. */
void subscribe_frames(uint32_t request, const uint8_t *p, uint32_t length);
void drain_frames(struct subscription *s);
int64_t frames_due(void);
void look_after_frames(void);

/* limits.c: what is let through to the kernel. */
void transact(uint32_t request, const uint8_t *p, uint32_t length);
void delete_conntrack(uint32_t request, const uint8_t *p, uint32_t length);
void dump_set(uint32_t request, uint8_t *p, uint32_t length);

#endif
