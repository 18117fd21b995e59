/*
 * Traffic of the test home's devices, and the servers that answer (serve.c). Each command prints one JSON line, so that
 * a test can compare what was sent with what the agent counted. `traffic COMMAND …`; see `commands` below.
 */
#include "common.h"
#include <endian.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

static uint8_t buffer[65536];
static volatile sig_atomic_t stopping;

uint64_t realtime_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

void sleep_until_ns(uint64_t when) {
  uint64_t now = realtime_ns();
  if (when <= now + 50000) return;
  struct timespec pause = {(when - now) / 1000000000ULL, (when - now) % 1000000000ULL};
  nanosleep(&pause, NULL);
}

void die(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", error ? strerror(error) : "usage");
  exit(1);
}

address_t address_of(const char *text, int port) {
  address_t address = {0};
  if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
    address.v4.sin_family = AF_INET;
    address.v4.sin_port = htons(port);
  } else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1) {
    address.v6.sin6_family = AF_INET6;
    address.v6.sin6_port = htons(port);
  } else {
    errno = EINVAL;
    die("address %s", text);
  }
  return address;
}

socklen_t address_size(const address_t *address) {
  return address->any.sa_family == AF_INET ? sizeof address->v4 : sizeof address->v6;
}

address_t address_plus(address_t address, uint32_t steps) {
  uint32_t low;
  if (address.any.sa_family == AF_INET) {
    address.v4.sin_addr.s_addr = htonl(ntohl(address.v4.sin_addr.s_addr) + steps);
    return address;
  }
  memcpy(&low, address.v6.sin6_addr.s6_addr + 12, 4);
  low = htonl(ntohl(low) + steps);
  memcpy(address.v6.sin6_addr.s6_addr + 12, &low, 4);
  return address;
}

int local_port(int fd) {
  address_t address;
  socklen_t size = sizeof address;
  getsockname(fd, &address.any, &size);
  return ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
}

static void stop(int number) {
  (void)number;
  stopping = 1;
}

static const char *reason(int error) {
  switch (error) {
  case ECONNREFUSED: return "refused";
  case EAGAIN: case EINPROGRESS: case ETIMEDOUT: return "timeout";
  case EHOSTUNREACH: case ENETUNREACH: case EACCES: return "unreachable";
  case ECONNRESET: return "reset";
  default: return strerror(error);
  }
}

static void set_timeout(int fd, unsigned ms) {
  struct timeval limit = {ms / 1000, ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* ADDRESS UP DOWN TIMEOUT_MS [PORT]: one connection that uploads UP bytes and downloads DOWN bytes, and closes. */
static int tcp(int argc, char **argv) {
  if (argc < 4) die("tcp ADDRESS UP DOWN TIMEOUT_MS [PORT]");
  address_t to = address_of(argv[0], argc > 4 ? atoi(argv[4]) : PORT_TRANSFER);
  uint64_t up = strtoull(argv[1], NULL, 10), down = strtoull(argv[2], NULL, 10), sent = 0, received = 0;
  uint64_t amounts[2] = {htobe64(up), htobe64(down)}, start = realtime_ns();
  int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
  set_timeout(fd, strtoul(argv[3], NULL, 10));
  if (connect(fd, &to.any, address_size(&to)) < 0) error = errno;
  uint64_t connected = realtime_ns();
  if (!error && send(fd, amounts, 16, MSG_NOSIGNAL) != 16) error = errno;
  while (!error && sent < up) {
    ssize_t n = send(fd, buffer, up - sent < sizeof buffer ? up - sent : sizeof buffer, MSG_NOSIGNAL);
    if (n < 0) error = errno;
    else sent += n;
  }
  for (ssize_t n = 1; !error && n > 0;) {
    n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0) error = errno;
    else received += n;
  }
  if (!error && received != down) error = ECONNRESET;
  int port = local_port(fd);
  close(fd);
  printf("{\"ok\":%s,\"error\":\"%s\",\"port\":%d,\"sent\":%lu,\"received\":%lu,\"connectMs\":%.3f,\"ms\":%.3f}\n",
         error ? "false" : "true", error ? reason(error) : "", port, sent, received, (connected - start) / 1e6,
         (realtime_ns() - start) / 1e6);
  return 0;
}

/* ADDRESS PORT COUNT SIZE INTERVAL_US [WAIT_MS]: datagrams of SIZE bytes, and how many came back. */
static int udp(int argc, char **argv) {
  if (argc < 5) die("udp ADDRESS PORT COUNT SIZE INTERVAL_US [WAIT_MS]");
  address_t to = address_of(argv[0], atoi(argv[1]));
  unsigned count = strtoul(argv[2], NULL, 10), size = strtoul(argv[3], NULL, 10), sent = 0, received = 0;
  unsigned wait = argc > 5 ? strtoul(argv[5], NULL, 10) : 300;
  uint64_t gap = strtoull(argv[4], NULL, 10) * 1000, next = realtime_ns(), first = 0, last = 0;
  int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
  if (connect(fd, &to.any, address_size(&to)) < 0) die("connect");
  for (unsigned i = 0; i < count; i++, next += gap) {
    if (gap) sleep_until_ns(next);
    if (!first) first = realtime_ns();
    if (send(fd, buffer, size, 0) == (ssize_t)size) sent++;
    else error = errno;
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) received++, last = realtime_ns();
  }
  struct pollfd ready = {fd, POLLIN, 0};
  while (received < sent && poll(&ready, 1, wait) == 1)
    if (recv(fd, buffer, sizeof buffer, 0) >= 0) received++, last = realtime_ns();
    else error = errno;
  printf("{\"sent\":%u,\"received\":%u,\"port\":%d,\"error\":\"%s\",\"first\":%.3f,\"last\":%.3f,\"ms\":%.3f}\n", sent, received,
         local_port(fd), error ? reason(error) : "", first / 1e6, last / 1e6, (realtime_ns() - first) / 1e6);
  return 0;
}

/*
 * ADDRESS COUNT RATE ROUNDS PORT [SPREAD]: COUNT UDP flows, each to the next of SPREAD addresses (with another source
 * port once these are through), at RATE datagrams a second over all; the same flows again in each further round.
 */
static int flows(int argc, char **argv) {
  if (argc < 5) die("flows ADDRESS COUNT RATE ROUNDS PORT [SPREAD]");
  address_t base = address_of(argv[0], atoi(argv[4]));
  unsigned count = strtoul(argv[1], NULL, 10), rounds = strtoul(argv[3], NULL, 10), failed = 0;
  unsigned spread = argc > 5 ? strtoul(argv[5], NULL, 10) : 60000, sockets = (count + spread - 1) / spread;
  double gap = 1e9 / strtod(argv[2], NULL);
  signal(SIGTERM, stop);
  int *fds = calloc(sockets, sizeof *fds);
  for (unsigned i = 0; i < sockets; i++) {
    int size = 8 << 20;
    fds[i] = socket(base.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fds[i], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  }
  uint64_t start = realtime_ns(), sent = 0, received = 0;
  for (unsigned round = 0; round < rounds && !stopping; round++)
    for (unsigned i = 0; i < count && !stopping; i++, sent++) {
      address_t to = address_plus(base, i % spread);
      if (sent % 8 == 0) sleep_until_ns(start + (uint64_t)(gap * sent));
      if (sendto(fds[i / spread], buffer, 32, 0, &to.any, address_size(&to)) < 0) failed++;
      while (recv(fds[i / spread], buffer, sizeof buffer, MSG_DONTWAIT) >= 0) received++;
    }
  double ms = (realtime_ns() - start) / 1e6;
  usleep(100000);
  for (unsigned i = 0; i < sockets; i++)
    while (recv(fds[i], buffer, sizeof buffer, MSG_DONTWAIT) >= 0) received++;
  printf("{\"flows\":%u,\"sent\":%lu,\"failed\":%u,\"received\":%lu,\"ms\":%.3f,\"rate\":%.0f}\n", count, sent, failed, received, ms,
         sent / ms * 1000);
  return 0;
}

/* ADDRESS COUNT RATE DOWN: COUNT TCP connections, RATE of them begun each second, each downloading DOWN bytes. */
static int connections(int argc, char **argv) {
  if (argc != 4) die("connections ADDRESS COUNT RATE DOWN");
  address_t base = address_of(argv[0], PORT_TRANSFER);
  unsigned count = strtoul(argv[1], NULL, 10), begun = 0, done = 0, failed = 0;
  uint64_t amounts[2] = {0, htobe64(strtoull(argv[3], NULL, 10))}, start = realtime_ns();
  double gap = 1e9 / strtod(argv[2], NULL);
  int loop = epoll_create1(EPOLL_CLOEXEC);
  signal(SIGTERM, stop);
  while (!stopping && done + failed < count) {
    while (begun < count && realtime_ns() >= start + (uint64_t)(gap * begun)) {
      address_t to = address_plus(base, begun % 60000);
      int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
      begun++;
      if (fd < 0 || (connect(fd, &to.any, address_size(&to)) < 0 && errno != EINPROGRESS)) failed++, close(fd);
      else epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
    }
    struct epoll_event events[64];
    int ready = epoll_wait(loop, events, 64, 1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (events[i].events & EPOLLOUT) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (send(fd, amounts, 16, MSG_NOSIGNAL) != 16) failed++, close(fd);
        else epoll_ctl(loop, EPOLL_CTL_MOD, fd, &event);
        continue;
      }
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got > 0 || (got < 0 && errno == EAGAIN)) continue;
      got == 0 ? done++ : failed++;
      close(fd);
    }
  }
  printf("{\"flows\":%u,\"sent\":%u,\"failed\":%u,\"received\":%u,\"ms\":%.3f,\"rate\":%.0f}\n", begun, begun, failed, done,
         (realtime_ns() - start) / 1e6, begun / ((realtime_ns() - start) / 1e9));
  return 0;
}

/* ADDRESS FROM TO: a TCP SYN to each port; how many were open, refused, silent. */
static int scan(int argc, char **argv) {
  if (argc != 3) die("scan ADDRESS FROM TO");
  int open = 0, refused = 0, silent = 0;
  for (int port = atoi(argv[1]); port <= atoi(argv[2]); port++) {
    address_t to = address_of(argv[0], port);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    set_timeout(fd, 300);
    if (connect(fd, &to.any, address_size(&to)) == 0) open++;
    else if (errno == ECONNREFUSED) refused++;
    else silent++;
    close(fd);
  }
  printf("{\"open\":%d,\"refused\":%d,\"silent\":%d}\n", open, refused, silent);
  return 0;
}

/* ADDRESS PORT HOSTS PORTS COUNT RATE: COUNT SYNs, to HOSTS addresses in turn and PORTS ports of each; nobody waits. */
static int probe(int argc, char **argv) {
  if (argc != 6) die("probe ADDRESS PORT HOSTS PORTS COUNT RATE");
  unsigned hosts = strtoul(argv[2], NULL, 10), ports = strtoul(argv[3], NULL, 10), count = strtoul(argv[4], NULL, 10);
  double gap = 1e9 / strtod(argv[5], NULL);
  uint64_t start = realtime_ns();
  unsigned n = 0, sent = 0;
  signal(SIGTERM, stop);
  for (; n < count && !stopping; n++) {
    address_t to = address_plus(address_of(argv[0], atoi(argv[1]) + n / hosts % ports), n % hosts);
    int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sleep_until_ns(start + (uint64_t)(gap * n));
    sent += connect(fd, &to.any, address_size(&to)) == 0 || errno == EINPROGRESS;
    close(fd);
  }
  printf("{\"sent\":%u}\n", sent);
  return 0;
}

static int open_stream(const char *kind, address_t *to) {
  int icmp = !strcmp(kind, "icmp"), v4 = to->any.sa_family == AF_INET;
  int type = !strcmp(kind, "tcp") ? SOCK_STREAM : icmp ? SOCK_RAW : SOCK_DGRAM;
  int fd = socket(to->any.sa_family, type | SOCK_CLOEXEC, icmp ? (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) : 0);
  if (fd < 0) die("socket");
  if (icmp) v4 ? (to->v4.sin_port = 0) : (to->v6.sin6_port = 0);
  set_timeout(fd, 3000);
  if (connect(fd, &to->any, address_size(to)) < 0) die("connect");
  return fd;
}

static size_t ask(const char *kind, int v4, unsigned sequence) {
  memset(buffer, 0, 64);
  if (strcmp(kind, "icmp")) return memcpy(buffer, &sequence, sizeof sequence), 64;
  buffer[0] = v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
  buffer[4] = getpid() >> 8, buffer[5] = getpid();
  buffer[6] = sequence >> 8, buffer[7] = sequence;
  if (v4) {
    uint32_t sum = 0;
    for (int i = 0; i < 64; i += 2) sum += buffer[i] << 8 | buffer[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    buffer[2] = sum >> 8, buffer[3] = sum;
  }
  return 64;
}

static int is_answer(const char *kind, int v4, ssize_t got) {
  if (strcmp(kind, "icmp")) return got > 0;
  const uint8_t *icmp = v4 ? buffer + (buffer[0] & 15) * 4 : buffer;
  return icmp[0] == (v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) && icmp[4] == (uint8_t)(getpid() >> 8) && icmp[5] == (uint8_t)getpid();
}

/*
 * KIND ADDRESS EVERY_MS SECONDS: tcp reads an endless download; udp and icmp ask every EVERY_MS and count answers; push
 * asks once and then only listens. Every 20 ms in which something changed a line says how many packets (tcp: reads) came
 * in and when the last did, in ms since 1970.
 */
static int stream(int argc, char **argv) {
  if (argc != 4) die("stream tcp|udp|push|icmp ADDRESS EVERY_MS SECONDS");
  const char *kind = argv[0];
  int is_tcp = !strcmp(kind, "tcp"), is_push = !strcmp(kind, "push");
  address_t to = address_of(argv[1], is_tcp || is_push ? PORT_ENDLESS : PORT_ECHO);
  uint64_t every = strtod(argv[2], NULL) * 1e6, end = realtime_ns() + strtod(argv[3], NULL) * 1e9;
  int v4 = to.any.sa_family == AF_INET, fd = open_stream(kind, &to);
  uint64_t received = 0, sent = 0, last = 0, reported = 0, next_ask = realtime_ns(), next_report = 0;
  signal(SIGTERM, stop);
  if (is_push) {
    int length = snprintf((char *)buffer, sizeof buffer, "P %lu 0 64", every ? 1000000000UL / every : 500);
    send(fd, buffer, length, 0), sent++;
  }
  for (uint64_t now = realtime_ns(); !stopping && now < end; now = realtime_ns()) {
    if (!is_tcp && !is_push && now >= next_ask) {
      size_t length = ask(kind, v4, sent);
      send(fd, buffer, length, MSG_NOSIGNAL), sent++;
      next_ask += every;
      if (next_ask < now) next_ask = now;
    }
    struct pollfd ready = {fd, POLLIN, 0};
    int asks = !is_tcp && !is_push, pause = asks && next_ask > now ? (next_ask - now) / 1000000 + 1 : asks ? 0 : 20;
    if (poll(&ready, 1, pause > 20 ? 20 : pause) == 1) {
      ssize_t got;
      while ((got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0)
        if (is_answer(kind, v4, got)) received++, last = realtime_ns();
      if (is_tcp && (got == 0 || (got < 0 && errno != EAGAIN))) break;
    }
    if (received != reported && now >= next_report) {
      printf("{\"received\":%lu,\"sent\":%lu,\"last\":%.3f,\"port\":%d}\n", received, sent, last / 1e6, local_port(fd));
      fflush(stdout);
      reported = received;
      next_report = now + 20000000;
    }
  }
  if (is_push) send(fd, "S", 1, 0);
  printf("{\"received\":%lu,\"sent\":%lu,\"last\":%.3f,\"port\":%d,\"ended\":true}\n", received, sent, last / 1e6, local_port(fd));
  return 0;
}

/* ADDRESS COUNT: as fast as one core can, to the sink; the time is that of the whole path, which runs in our context. */
static int blast(int argc, char **argv) {
  if (argc != 3) die("blast ADDRESS COUNT SIZE");
  address_t to = address_of(argv[0], PORT_SINK);
  unsigned count = strtoul(argv[1], NULL, 10), size = strtoul(argv[2], NULL, 10), sent = 0;
  int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (connect(fd, &to.any, address_size(&to)) < 0) die("connect");
  send(fd, buffer, size, 0);
  struct timespec from, until;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
  uint64_t start = realtime_ns();
  for (unsigned i = 0; i < count; i++) sent += send(fd, buffer, size, 0) > 0;
  uint64_t wall = realtime_ns() - start;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &until);
  double cpu = (until.tv_sec - from.tv_sec) * 1e9 + (until.tv_nsec - from.tv_nsec);
  printf("{\"sent\":%u,\"wallNs\":%.1f,\"cpuNs\":%.1f}\n", sent, wall / (double)count, cpu / count);
  return 0;
}

static int serve_command(int argc, char **argv) {
  (void)argc, (void)argv;
  return serve();
}

static const struct {
  const char *name;
  int (*run)(int argc, char **argv);
} commands[] = {{"serve", serve_command}, {"tcp", tcp},           {"udp", udp},          {"flows", flows},      {"connections", connections},
                {"scan", scan},           {"probe", probe},         {"stream", stream},     {"blast", blast},      {"dns", dns_load},
                {"fresh", fresh_names},   {"arp", arp_claim},     {"macs", forge_macs},  {"offload", offload_off},
                {"frames", send_frames}};

int main(int argc, char **argv) {
  for (unsigned i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
    if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 2, argv + 2);
  errno = 0;
  die("traffic serve|tcp|udp|flows|connections|scan|probe|stream|blast|dns|fresh|arp|macs|offload|frames");
}
