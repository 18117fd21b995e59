/*
 * The servers of the test home's Internet, on every address of its ranges (each answers from the address that was hit):
 *   TCP 7 echo · 8 transfer (16 bytes say how many follow and how many come back) · 9 endless · 80 HTTP, GET /BYTES
 *   UDP 7 echo · 9 push ("P rate count size": datagrams by the server's own doing, 0 = until "S") · 11 sink
 */
#include "common.h"
#include <endian.h>

enum kind { LISTEN_TCP, SERVE_UDP, CONNECTION, PUSHER };
enum { MAX_PUSHERS = 64, ENDLESS_CHUNK = 8192, ENDLESS_MS = 5 };

struct endpoint {
  enum kind kind;
  int fd, port, family;
  /* transfer and HTTP */
  unsigned header_length;
  uint8_t header[512];
  uint64_t to_read, to_write;
  int timer; /* endless: paces the writes */
  /* pusher */
  address_t peer;
  uint8_t control[64];
  size_t control_length;
  uint64_t sequence, count;
  unsigned size;
  int socket;
};

static int loop;
static struct endpoint *pushers[MAX_PUSHERS];
static uint8_t buffer[65536];

static void watch(struct endpoint *endpoint, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = endpoint};
  if (epoll_ctl(loop, EPOLL_CTL_ADD, endpoint->fd, &event) < 0) die("epoll_ctl");
}

static void rewatch(struct endpoint *endpoint, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = endpoint};
  epoll_ctl(loop, EPOLL_CTL_MOD, endpoint->fd, &event);
}

static void drop(struct endpoint *endpoint) {
  close(endpoint->fd);
  if (endpoint->kind == PUSHER)
    for (int i = 0; i < MAX_PUSHERS; i++)
      if (pushers[i] == endpoint) pushers[i] = NULL;
  free(endpoint);
}

static struct endpoint *listen_on(int family, int type, int port) {
  int one = 1;
  struct endpoint *endpoint = calloc(1, sizeof *endpoint);
  endpoint->fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (endpoint->fd < 0) die("socket");
  endpoint->port = port;
  endpoint->family = family;
  endpoint->kind = type == SOCK_STREAM ? LISTEN_TCP : SERVE_UDP;
  setsockopt(endpoint->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (family == AF_INET6) setsockopt(endpoint->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
  if (type == SOCK_DGRAM) {
    int size = 8 << 20;
    setsockopt(endpoint->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(endpoint->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (family == AF_INET) setsockopt(endpoint->fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
    else setsockopt(endpoint->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof one);
    setsockopt(endpoint->fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
               family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, &one, sizeof one);
  }
  address_t any = address_of(family == AF_INET ? "0.0.0.0" : "::", port);
  if (bind(endpoint->fd, &any.any, address_size(&any)) < 0) die("bind port %d", port);
  if (type == SOCK_STREAM && listen(endpoint->fd, 4096) < 0) die("listen");
  watch(endpoint, EPOLLIN);
  return endpoint;
}

static void accept_all(struct endpoint *listener) {
  for (;;) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct endpoint *connection = calloc(1, sizeof *connection);
    connection->kind = CONNECTION;
    connection->fd = fd;
    connection->port = listener->port;
    if (listener->port == PORT_ENDLESS) {
      /* The descriptor that epoll watches is the timer; the socket hides in `socket`. */
      struct itimerspec every = {{0, ENDLESS_MS * 1000000}, {0, ENDLESS_MS * 1000000}};
      connection->socket = fd;
      connection->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
      timerfd_settime(connection->fd, 0, &every, NULL);
    }
    watch(connection, EPOLLIN);
  }
}

static void endless(struct endpoint *connection) {
  uint64_t ticks;
  if (read(connection->fd, &ticks, sizeof ticks) < 0) return;
  ssize_t got = recv(connection->socket, buffer, sizeof buffer, MSG_DONTWAIT);
  ssize_t sent = send(connection->socket, buffer, ENDLESS_CHUNK, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (got == 0 || (got < 0 && errno != EAGAIN) || (sent < 0 && errno != EAGAIN)) {
    close(connection->socket);
    drop(connection);
  }
}

/* Reads the head of a transfer or HTTP request; true once both amounts are known. */
static int read_head(struct endpoint *connection) {
  unsigned want = connection->port == PORT_TRANSFER ? 16 : sizeof connection->header - 1;
  if (connection->to_write || connection->to_read || connection->header_length == want) return 1;
  ssize_t got = recv(connection->fd, connection->header + connection->header_length, want - connection->header_length, 0);
  if (got <= 0) return got < 0 && errno == EAGAIN ? 0 : -1;
  connection->header_length += got;
  if (connection->port == PORT_TRANSFER) {
    if (connection->header_length < 16) return 0;
    uint64_t amounts[2];
    memcpy(amounts, connection->header, 16);
    connection->to_read = be64toh(amounts[0]);
    connection->to_write = be64toh(amounts[1]);
    return 1;
  }
  connection->header[connection->header_length] = 0;
  if (!strstr((char *)connection->header, "\r\n\r\n")) return connection->header_length < want ? 0 : -1;
  uint64_t length = 0;
  sscanf((char *)connection->header, "GET /%lu", &length);
  int head = snprintf((char *)buffer, sizeof buffer,
                      "HTTP/1.1 200 OK\r\nContent-Length: %lu\r\nConnection: close\r\n\r\n", length);
  if (send(connection->fd, buffer, head, MSG_NOSIGNAL) != head) return -1;
  connection->to_write = length;
  connection->header_length = want;
  return 1;
}

static void transfer(struct endpoint *connection) {
  int state = read_head(connection);
  if (state == 0) return;
  if (state < 0) return drop(connection);
  while (connection->to_read > 0) {
    size_t room = connection->to_read < sizeof buffer ? connection->to_read : sizeof buffer;
    ssize_t got = recv(connection->fd, buffer, room, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(connection);
    connection->to_read -= got;
  }
  while (connection->to_write > 0) {
    size_t length = connection->to_write < sizeof buffer ? connection->to_write : sizeof buffer;
    ssize_t sent = send(connection->fd, buffer, length, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return rewatch(connection, EPOLLOUT);
    if (sent <= 0) return drop(connection);
    connection->to_write -= sent;
  }
  drop(connection);
}

static void echo_stream(struct endpoint *connection) {
  ssize_t got = recv(connection->fd, buffer, sizeof buffer, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || send(connection->fd, buffer, got, MSG_NOSIGNAL) != got) drop(connection);
}

/* Reuses the received packet information as the source of what is sent. */
static size_t source_control(struct msghdr *message, uint8_t *control) {
  for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
    struct msghdr out = {.msg_control = control, .msg_controllen = 64};
    struct cmsghdr *o = CMSG_FIRSTHDR(&out);
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi_spec_dst = info.ipi_addr;
      info.ipi_ifindex = 0;
      o->cmsg_level = IPPROTO_IP;
      o->cmsg_type = IP_PKTINFO;
      o->cmsg_len = CMSG_LEN(sizeof info);
      memcpy(CMSG_DATA(o), &info, sizeof info);
      return CMSG_SPACE(sizeof info);
    }
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi6_ifindex = 0;
      o->cmsg_level = IPPROTO_IPV6;
      o->cmsg_type = IPV6_PKTINFO;
      o->cmsg_len = CMSG_LEN(sizeof info);
      memcpy(CMSG_DATA(o), &info, sizeof info);
      return CMSG_SPACE(sizeof info);
    }
  }
  return 0;
}

static int same_peer(const address_t *a, const address_t *b) {
  if (a->any.sa_family != b->any.sa_family) return 0;
  if (a->any.sa_family == AF_INET)
    return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
  return a->v6.sin6_port == b->v6.sin6_port && !memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, 16);
}

static void push_command(int fd, const address_t *peer, const char *text, uint8_t *control, size_t control_length) {
  unsigned rate = 0, size = 0;
  unsigned long count = 0;
  int slot = -1;
  for (int i = 0; i < MAX_PUSHERS; i++) {
    if (!pushers[i]) slot = slot < 0 ? i : slot;
    else if (same_peer(&pushers[i]->peer, peer)) drop(pushers[i]), slot = i;
  }
  if (text[0] != 'P' || slot < 0 || sscanf(text, "P %u %lu %u", &rate, &count, &size) != 3 || !rate || size < 16) return;
  struct endpoint *pusher = calloc(1, sizeof *pusher);
  struct itimerspec every = {{0, 1000000000L / rate}, {0, 1}};
  if (rate == 1) every.it_interval = (struct timespec){1, 0};
  pusher->kind = PUSHER;
  pusher->peer = *peer;
  pusher->count = count;
  pusher->size = size > 1400 ? 1400 : size;
  pusher->socket = fd;
  memcpy(pusher->control, control, control_length);
  pusher->control_length = control_length;
  pusher->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  timerfd_settime(pusher->fd, 0, &every, NULL);
  pushers[slot] = pusher;
  watch(pusher, EPOLLIN);
}

static void push(struct endpoint *pusher) {
  uint64_t ticks;
  if (read(pusher->fd, &ticks, sizeof ticks) < 0) return;
  for (; ticks > 0; ticks--) {
    uint64_t now = realtime_ns();
    pusher->sequence++;
    memcpy(buffer, &pusher->sequence, 8);
    memcpy(buffer + 8, &now, 8);
    struct iovec data = {buffer, pusher->size};
    struct msghdr message = {.msg_name = &pusher->peer, .msg_namelen = address_size(&pusher->peer), .msg_iov = &data,
                             .msg_iovlen = 1, .msg_control = pusher->control, .msg_controllen = pusher->control_length};
    sendmsg(pusher->socket, &message, MSG_DONTWAIT);
    if (pusher->count && pusher->sequence >= pusher->count) return drop(pusher);
  }
}

static void datagrams(struct endpoint *server) {
  for (int i = 0; i < 256; i++) {
    uint8_t control[256], out[64];
    address_t peer;
    struct iovec data = {buffer, sizeof buffer - 1};
    struct msghdr message = {.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &data, .msg_iovlen = 1,
                             .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(server->fd, &message, MSG_DONTWAIT);
    if (got < 0) return;
    if (server->port == PORT_SINK) continue;
    size_t control_length = source_control(&message, out);
    if (server->port == PORT_ENDLESS) {
      buffer[got] = 0;
      push_command(server->fd, &peer, (char *)buffer, out, control_length);
      continue;
    }
    data.iov_len = got;
    message.msg_control = out;
    message.msg_controllen = control_length;
    sendmsg(server->fd, &message, MSG_DONTWAIT);
  }
}

int serve(void) {
  static const int families[] = {AF_INET, AF_INET6};
  static const int streams[] = {PORT_ECHO, PORT_TRANSFER, PORT_ENDLESS, PORT_HTTP};
  static const int packets[] = {PORT_ECHO, PORT_ENDLESS, PORT_SINK};
  signal(SIGPIPE, SIG_IGN);
  loop = epoll_create1(EPOLL_CLOEXEC);
  for (unsigned f = 0; f < 2; f++) {
    for (unsigned i = 0; i < sizeof streams / sizeof *streams; i++) listen_on(families[f], SOCK_STREAM, streams[i]);
    for (unsigned i = 0; i < sizeof packets / sizeof *packets; i++) listen_on(families[f], SOCK_DGRAM, packets[i]);
  }
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct epoll_event event;
    if (epoll_wait(loop, &event, 1, -1) < 1) continue;
    struct endpoint *endpoint = event.data.ptr;
    if (endpoint->kind == LISTEN_TCP) accept_all(endpoint);
    else if (endpoint->kind == SERVE_UDP) datagrams(endpoint);
    else if (endpoint->kind == PUSHER) push(endpoint);
    else if (endpoint->port == PORT_ENDLESS) endless(endpoint);
    else if (endpoint->port == PORT_ECHO) echo_stream(endpoint);
    else transfer(endpoint);
  }
}
