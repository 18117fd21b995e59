/* What we let through to the kernel: each message is checked against what main.c says, whatever is not listed is refused. */
#define _GNU_SOURCE
#include "helper.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

static int transact_fd = -1;
uint32_t transact_port;

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
		/* Echoed, a deletion tells what the element counted until then. */
		uint32_t extra = message == NFT_MSG_NEWSETELEM ? NLM_F_CREATE | NLM_F_EXCL : NLM_F_ECHO;
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

void transact(uint32_t request, const uint8_t *p, uint32_t length)
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
	else error = collect_errors(transact_fd, request, 0, &none, &index, text, sizeof text);
	send_result(request, error, index, 0, text);
}

void delete_conntrack(uint32_t request, const uint8_t *p, uint32_t length)
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
	else error = collect_errors(transact_fd, 0, ENOENT, &gone, &index, text, sizeof text);
	send_result(request, error, error ? index : count - gone, 0, text);
}

void dump_set(uint32_t request, uint8_t *p, uint32_t length)
{
	const struct nlmsghdr *h = whole_message(p, length);
	const char *wrong = h && h->nlmsg_len == length ? check_set_message(h, 1) : "malformed message";
	if (wrong) refuse(request, wrong);
	else start_dump(request, NETLINK_NETFILTER, p, 0, 0, 0);
}
