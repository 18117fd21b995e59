/* What the servers and the generators of the test home share. Addresses of both families travel as one struct. */
#ifndef TRAFFIC_COMMON_H
#define TRAFFIC_COMMON_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { PORT_ECHO = 7, PORT_TRANSFER = 8, PORT_ENDLESS = 9, PORT_SINK = 11, PORT_HTTP = 80 };

typedef union {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} address_t;

uint64_t realtime_ns(void);
void sleep_until_ns(uint64_t when);
/* Ends the program with the text and errno in words. */
void die(const char *format, ...);
/* Reads IPv4 or IPv6 text; ends the program if it is neither. */
address_t address_of(const char *text, int port);
socklen_t address_size(const address_t *address);
/* The address `steps` after this one. */
address_t address_plus(address_t address, uint32_t steps);
int local_port(int fd);

int serve(void);
int arp_claim(int argc, char **argv);
int forge_macs(int argc, char **argv);
int send_frames(int argc, char **argv);
int offload_off(int argc, char **argv);
int dns_load(int argc, char **argv);
int fresh_names(int argc, char **argv);
#endif
