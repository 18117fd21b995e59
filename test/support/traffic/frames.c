/* What a device does below IP: claiming an address by ARP, forging hardware addresses; and switching offloads off. */
#include "common.h"
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>

static int interface_of(const char *name, uint8_t mac[6]) {
  struct ifreq request = {0};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  if (ioctl(fd, SIOCGIFHWADDR, &request) < 0) die("interface %s", name);
  memcpy(mac, request.ifr_hwaddr.sa_data, 6);
  if (ioctl(fd, SIOCGIFINDEX, &request) < 0) die("interface %s", name);
  close(fd);
  return request.ifr_ifindex;
}

static void send_arp(int fd, int index, int operation, const uint8_t source[6], in_addr_t sender, in_addr_t target) {
  static const uint8_t everyone[6] = {255, 255, 255, 255, 255, 255};
  struct __attribute__((packed)) {
    struct ether_header ethernet;
    struct ether_arp arp;
    uint8_t padding[18];
  } frame = {0};
  memcpy(frame.ethernet.ether_dhost, everyone, 6);
  memcpy(frame.ethernet.ether_shost, source, 6);
  frame.ethernet.ether_type = htons(ETHERTYPE_ARP);
  frame.arp.ea_hdr.ar_hrd = htons(ARPHRD_ETHER);
  frame.arp.ea_hdr.ar_pro = htons(ETHERTYPE_IP);
  frame.arp.ea_hdr.ar_hln = 6;
  frame.arp.ea_hdr.ar_pln = 4;
  frame.arp.ea_hdr.ar_op = htons(operation);
  memcpy(frame.arp.arp_sha, source, 6);
  memcpy(frame.arp.arp_spa, &sender, 4);
  memcpy(frame.arp.arp_tha, operation == ARPOP_REPLY ? everyone : (const uint8_t[6]){0}, 6);
  memcpy(frame.arp.arp_tpa, &target, 4);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = index, .sll_halen = 6};
  memcpy(to.sll_addr, everyone, 6);
  sendto(fd, &frame, sizeof frame, 0, (struct sockaddr *)&to, sizeof to);
}

/* INTERFACE ADDRESS GATEWAY COUNT: says COUNT times, a tenth of a second apart, that ADDRESS is at our own MAC. */
int arp_claim(int argc, char **argv) {
  if (argc != 4) die("arp INTERFACE ADDRESS GATEWAY COUNT");
  uint8_t mac[6];
  int index = interface_of(argv[0], mac), fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  in_addr_t claimed = inet_addr(argv[1]), gateway = inet_addr(argv[2]);
  for (int i = 0; i < atoi(argv[3]); i++) {
    send_arp(fd, index, ARPOP_REQUEST, mac, claimed, gateway);
    send_arp(fd, index, ARPOP_REQUEST, mac, claimed, claimed);
    send_arp(fd, index, ARPOP_REPLY, mac, claimed, claimed);
    usleep(100000);
  }
  return 0;
}

/* INTERFACE GATEWAY COUNT RATE FIRST: as many ARP requests, each from a hardware address that nobody has. */
int forge_macs(int argc, char **argv) {
  if (argc != 5) die("macs INTERFACE GATEWAY COUNT RATE FIRST");
  uint8_t mac[6];
  int index = interface_of(argv[0], mac), fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  in_addr_t gateway = inet_addr(argv[1]);
  uint64_t next = realtime_ns(), gap = 1000000000ULL / strtoul(argv[3], NULL, 10);
  unsigned first = strtoul(argv[4], NULL, 10), end = first + strtoul(argv[2], NULL, 10);
  for (unsigned i = first; i < end; i++, next += gap) {
    uint8_t forged[6] = {0x06, 0xf0, i >> 24, i >> 16, i >> 8, i};
    send_arp(fd, index, ARPOP_REQUEST, forged, htonl(0xc0a84d00u + 100 + i % 150), gateway);
    sleep_until_ns(next);
  }
  return 0;
}

/* INTERFACE RATE TIMES: sends each line of stdin, a frame in hexadecimal, in this order as often, so many a second. */
int send_frames(int argc, char **argv) {
  if (argc != 3) die("frames INTERFACE RATE TIMES");
  static char line[2 * 9100 + 2];
  static struct {
    size_t length;
    uint8_t *bytes;
  } frames[1024];
  uint8_t mac[6];
  int index = interface_of(argv[0], mac), fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = index, .sll_halen = 6};
  uint64_t next = realtime_ns(), gap = 1000000000ULL / strtoul(argv[1], NULL, 10);
  unsigned count = 0, times = strtoul(argv[2], NULL, 10), sent = 0;
  while (count < sizeof frames / sizeof *frames && fgets(line, sizeof line, stdin)) {
    size_t length = strspn(line, "0123456789abcdef") / 2;
    frames[count].bytes = malloc(length + 1);
    for (size_t i = 0; i < length; i++) sscanf(line + 2 * i, "%2hhx", frames[count].bytes + i);
    frames[count++].length = length;
  }
  for (unsigned i = 0; i < times * count; i++, next += gap) {
    sent += sendto(fd, frames[i % count].bytes, frames[i % count].length, 0, (struct sockaddr *)&to, sizeof to) > 0;
    sleep_until_ns(next);
  }
  printf("{\"sent\":%u}\n", sent);
  return 0;
}

/* INTERFACE …: every packet is then one that fits the wire, so that both ends count the same packets. */
int offload_off(int argc, char **argv) {
  static const uint32_t commands[] = {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  for (int i = 0; i < argc; i++)
    for (unsigned c = 0; c < sizeof commands / sizeof *commands; c++) {
      struct ethtool_value value = {.cmd = commands[c], .data = 0};
      struct ifreq request = {.ifr_data = (void *)&value};
      snprintf(request.ifr_name, sizeof request.ifr_name, "%s", argv[i]);
      if (ioctl(fd, SIOCETHTOOL, &request) < 0) die("offload of %s", argv[i]);
    }
  return 0;
}
