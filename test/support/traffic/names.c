/* DNS as a device asks it: load at a rate, and the race between an answer and the first packet to what it named. */
#include "common.h"

static uint8_t packet[4096];

static int write_query(uint8_t *out, uint16_t id, const char *name, unsigned type) {
  uint8_t header[12] = {id >> 8, id, 1, 0, 0, 1};
  uint8_t *at = out + 12;
  memcpy(out, header, 12);
  while (*name) {
    size_t length = strcspn(name, ".");
    *at++ = length;
    memcpy(at, name, length);
    at += length;
    name += length + (name[length] == '.');
  }
  *at++ = 0;
  *at++ = type >> 8, *at++ = type, *at++ = 0, *at++ = 1;
  return at - out;
}

/* The first address of the type in an answer; its family, or 0. */
static int first_address(const uint8_t *in, int length, unsigned type, address_t *found) {
  int at = 12, records = in[6] << 8 | in[7];
  while (at < length && in[at]) at += in[at] + 1;
  at += 5;
  for (; records > 0 && at + 12 <= length; records--) {
    if (in[at] >= 0xc0) at += 2;
    else {
      while (at < length && in[at]) at += in[at] + 1;
      at++;
    }
    unsigned kind = in[at] << 8 | in[at + 1], size = in[at + 8] << 8 | in[at + 9];
    at += 10;
    if (kind == type && at + (int)size <= length) {
      memset(found, 0, sizeof *found);
      if (type == 1) found->v4.sin_family = AF_INET, memcpy(&found->v4.sin_addr, in + at, 4);
      else found->v6.sin6_family = AF_INET6, memcpy(&found->v6.sin6_addr, in + at, 16);
      return found->any.sa_family;
    }
    at += size;
  }
  return 0;
}

static int resolver(const char *server) {
  address_t to = address_of(server, 53);
  int fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  if (connect(fd, &to.any, address_size(&to)) < 0) die("connect %s", server);
  return fd;
}

/* SERVER PATTERN COUNT RATE TYPE(1|28): PATTERN holds one %d. Prints how many were asked and answered. */
int dns_load(int argc, char **argv) {
  if (argc != 5) die("dns SERVER PATTERN COUNT RATE TYPE");
  int fd = resolver(argv[0]), answered = 0, failed = 0;
  unsigned count = strtoul(argv[2], NULL, 10), type = strtoul(argv[4], NULL, 10);
  uint64_t next = realtime_ns(), gap = 1000000000ULL / strtoul(argv[3], NULL, 10);
  char last[64] = "";
  for (unsigned i = 0; i < count || next + 1000000000ULL > realtime_ns(); i++, next += i <= count ? gap : 0) {
    if (i < count) {
      char name[256];
      snprintf(name, sizeof name, argv[1], i);
      int length = write_query(packet, i + 1, name, type);
      if (send(fd, packet, length, 0) < 0) failed++;
      sleep_until_ns(next);
    } else usleep(2000);
    for (;;) {
      ssize_t got = recv(fd, packet, sizeof packet, MSG_DONTWAIT);
      if (got < 0) break;
      address_t address;
      int family = first_address(packet, got, type, &address);
      if (family) inet_ntop(family, family == AF_INET ? (void *)&address.v4.sin_addr : (void *)&address.v6.sin6_addr, last, sizeof last);
      answered++;
    }
    if (answered + failed >= (int)count) break;
  }
  printf("{\"asked\":%u,\"answered\":%d,\"failed\":%d,\"last\":\"%s\"}\n", count, answered, failed, last);
  return 0;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/*
 * SERVER PATTERN COUNT TYPE(1|28) PORT: asks for each name and sends, the moment the answer is there, one datagram to
 * the address that it holds. Prints how many names resolved, how many datagrams went out and how many came back, and how
 * long the answers took: the median and the 99th percentile, in microseconds.
 */
int fresh_names(int argc, char **argv) {
  if (argc != 5) die("fresh SERVER PATTERN COUNT TYPE PORT");
  int fd = resolver(argv[0]), resolved = 0, sent = 0, returned = 0;
  unsigned count = strtoul(argv[2], NULL, 10), type = strtoul(argv[3], NULL, 10);
  double *took = calloc(count + 1, sizeof *took);
  if (!took) die("memory");
  int out = socket(type == 1 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (unsigned i = 0; i < count; i++) {
    char name[256];
    snprintf(name, sizeof name, argv[1], i);
    int length = write_query(packet, i + 1, name, type);
    struct pollfd ready = {fd, POLLIN, 0};
    uint64_t asked = realtime_ns();
    if (send(fd, packet, length, 0) < 0 || poll(&ready, 1, 1000) < 1) continue;
    double us = (realtime_ns() - asked) / 1000.0;
    ssize_t got = recv(fd, packet, sizeof packet, 0);
    address_t address;
    if (got < 12 || !first_address(packet, got, type, &address)) continue;
    took[resolved++] = us;
    if (type == 1) address.v4.sin_port = htons(atoi(argv[4]));
    else address.v6.sin6_port = htons(atoi(argv[4]));
    if (sendto(out, &i, sizeof i, 0, &address.any, address_size(&address)) > 0) sent++;
    while (recv(out, packet, sizeof packet, MSG_DONTWAIT) > 0) returned++;
  }
  struct pollfd ready = {out, POLLIN, 0};
  while (poll(&ready, 1, 500) == 1)
    if (recv(out, packet, sizeof packet, 0) > 0) returned++;
  qsort(took, resolved, sizeof *took, by_size);
  printf("{\"resolved\":%d,\"sent\":%d,\"returned\":%d,\"p50Us\":%.0f,\"p99Us\":%.0f}\n", resolved, sent, returned,
         took[resolved / 2], took[resolved * 99 / 100]);
  free(took);
  return 0;
}
