/*
 * A device must not learn an address before what follows from it stands in the kernel. So while Node asks for it, answers
 * that leave through the home's interfaces wait in a queue of the kernel's, right after they were logged (spin.nft). Node
 * is told of them after all that was logged until then, and says when they may go on. Whatever Node does or does not do,
 * they go on after HOLD_MS.
 *
 * The rule stands in a table that the kernel removes when our socket is closed, however we end, and lets pass when nobody
 * listens to the queue or the queue is full.
 */
#define _GNU_SOURCE
#include "helper.h"

#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netfilter/xt_NFQUEUE.h>

/*
 * DNS answers that are held wait for Node: no more of them at once than this; in the kernel, no more than the second,
 * should this process not come to read.
 */
#define HOLD_PENDING 512u
#define HOLD_KERNEL 1024u
#define HOLD_MARKS 128u
#define HOLD_QUEUE 5353
#define HOLD_TABLE "spin_usp_hold"
#define HOLD_INTERFACES 16u
#define HOLD_NAME 16u

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
	return collect_errors(fd, 0, 0, &none, &index, NULL, 0);
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
	return collect_errors(fd, 0, 0, &none, &index, NULL, 0);
}

void hold_answers(uint32_t request, const uint8_t *names, uint32_t length)
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

void release(uint32_t id)
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

void drain_held(struct subscription *s)
{
	if (!read_held(s)) return;
	if (waiting_out() >= OUT_LIMIT) {
		accept_late(s, held.newest);
		return;
	}
	/* Whatever waits was logged before. */
	drain_kind(PACKET_LOG, 0);
	memcpy(next_payload(sizeof held.newest), &held.newest, sizeof held.newest);
	end_frame(DATA, s->request, sizeof held.newest);
}

/* When the oldest has waited for too long, ms; -1 if none waits. */
int64_t held_due(void)
{
	return held.marks ? held.mark[held.first].due : -1;
}

/* Lets go on what has waited for too long. */
static void accept_overdue(struct subscription *s)
{
	int64_t now = now_ms();
	while (held.marks && held_due() <= now) accept_late(s, held.mark[held.first].id);
}

void tell_late(void)
{
	struct subscription *s = find_hold();
	if (!s) return;
	accept_overdue(s);
	if (s->lost) send_words(LOSS, s->request, s->lost, 0, 0, "");
	s->lost = 0;
}

/* While we wait for Node and do nothing else. */
void serve_held(void)
{
	struct subscription *s = find_hold();
	if (!s) return;
	read_held(s);
	accept_overdue(s);
}

/* Leaves nothing behind in the queue: first the rule goes, then what waits is let go. */
void end_hold(struct subscription *s)
{
	change_hold_table(s->fd, NULL, 0, 0);
	read_held(s);
	if (held.newest != held.accepted) accept_held(s, held.newest);
}

void end_hold_at_exit(void)
{
	struct subscription *s = find_hold();
	if (s) end_hold(s);
}
