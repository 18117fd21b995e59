/**
 * Sixteen devices that do nothing wrong, day by day: what a family's things were seen to do, as far as detectors could
 * mistake it. Rates and counts are those of the programs' own manuals and of captures; where they are a guess, the guess
 * is on the loud side.
 */
import type { SimulatedHome } from "./home.ts";
import { type Device, DAY, HOUR, ICMP, MINUTE, SECOND, UDP } from "./home.ts";

const CDN_HOSTS = 4000;

/** An address of the Internet, always the same for a number. */
export function place(n: number): string {
  return `198.${18 + ((n >> 16) & 1)}.${(n >> 8) & 255}.${n & 255}`;
}

const place6 = (n: number) => `2001:db8:100::${(n & 0xffff).toString(16)}`;

export class Household {
  readonly home: SimulatedHome;
  /** What the family's day is shifted by: daylight saving. */
  shiftMs = 0;
  readonly #names = new Map<string, number>();
  #nextPlace = 5000;
  readonly #startOfDay: number;
  #guests = 100;

  constructor(home: SimulatedHome) {
    this.home = home;
    this.#startOfDay = home.clock.now();
    const device = (index: number, name: string) => home.device(index, name);
    this.#phone(device(1, "phone-anna"), true);
    this.#phone(device(2, "phone-ben"), false);
    this.#workLaptop(device(3, "laptop-work"));
    this.#browsing(device(4, "laptop-home"));
    this.#gamingComputer(device(5, "computer"));
    this.#nas(device(6, "nas"));
    this.#torrents(device(7, "seedbox"));
    this.#television(device(8, "tv"));
    this.#camera(device(9, "camera-door"));
    this.#motionCamera(device(10, "camera-garden"));
    this.#beacon(device(11, "thermostat"), "mqtt.thermo.example", 8883, MINUTE);
    this.#hub(device(12, "hub"));
    this.#speaker(device(13, "speaker"));
    this.#printer(device(14, "printer"));
    this.#doorbell(device(15, "doorbell"));
    this.#console(device(16, "console"));
    for (const each of [...this.#all]) {
      home.every(10 * MINUTE, () => home.shown(each, each.ipv4));
      home.every(6 * HOUR, () => home.lease(each));
      home.every(DAY, () => this.#renewPrivacyAddress(each));
      home.every(HOUR, () => this.#time(each));
      home.every(5 * MINUTE, () => home.arp(each, "192.0.2.1"));
    }
    home.every(2 * DAY, () => this.#guest());
  }

  readonly #all: Device[] = [];

  /** Hour of the family's day, 0 to 24. */
  get hour(): number {
    return ((((this.home.elapsed + this.shiftMs) % DAY) + DAY) % DAY) / HOUR;
  }

  isBetween(from: number, to: number): boolean {
    const { hour } = this;
    return from <= to ? hour >= from && hour < to : hour >= from || hour < to;
  }

  /** Resolves a name as a browser does, both families, and opens a connection; without names there is none. */
  visit(
    device: Device,
    name: string,
    plan: { up?: number; down?: number; seconds?: number; port?: number; quic?: boolean; silent?: boolean } = {},
  ): void {
    const { home } = this;
    const { random } = home;
    const at = this.#placeOf(name);
    // What the device has resolved lately it resolves again only now and then.
    const isFresh = random.chance(0.5);
    if (isFresh) {
      home.ask(device, name, [place(at), place(at + 1)]);
      home.ask(device, name, [place6(at)], "AAAA");
      if (random.chance(0.5)) home.ask(device, name, [], "HTTPS");
      if (!home.isOnline || !home.hasNames) {
        // Resolvers of devices ask again, and again.
        for (let again = 1; again <= 4; again++) home.after(again * 2 * SECOND, () => home.ask(device, name));
        return;
      }
    }
    const isSix = random.chance(0.4);
    const { up = 2000, down = 20_000, seconds = 3, port = 443, quic = random.chance(0.4), silent = false } = plan;
    const open = () =>
      home.flow(device, {
        to: isSix ? place6(at) : place(at + random.between(0, 1)),
        port,
        protocol: quic && port === 443 ? UDP : 6,
        up,
        down,
        seconds,
        upSize: up > 50_000 ? 1400 : 120,
        peer: silent ? "silent" : "answers",
      });
    open();
    if (!home.isOnline) for (let again = 1; again <= 5; again++) home.after(again * again * 2 * SECOND, open);
  }

  /** A page: its host, content networks, and advertisers under few base domains. */
  page(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.visit(device, `www.site${random.between(1, 900)}.example`, { down: 300_000 });
    const bases = [
      `ads${random.between(1, 5)}.example`,
      `track${random.between(1, 5)}.example`,
      `cdn${random.between(1, 8)}.example`,
    ];
    for (let k = random.between(5, 40); k > 0; k--) {
      const base = random.pick(bases);
      const label = random.chance(0.1) ? random.label(32) : random.label(random.between(4, 14));
      home.after(random.between(0, 8000), () =>
        this.visit(device, `${label}.${base}`, { down: 15_000, silent: random.chance(0.02) }),
      );
    }
  }

  #placeOf(name: string): number {
    let at = this.#names.get(name);
    if (at === undefined) {
      at = this.#names.size % CDN_HOSTS;
      // Many names share the addresses of few content networks.
      at = this.home.random.chance(0.5) ? at : 100 + (at % 200);
      if (this.#names.size > 20_000) this.#names.clear();
      this.#names.set(name, at);
    }
    return at;
  }

  #stranger(): string {
    return place((this.#nextPlace = (this.#nextPlace * 48_271) % 131_071));
  }

  #time(device: Device): void {
    const { home } = this;
    // Some have the servers' addresses built in.
    for (let k = 0; k < 4; k++) home.flow(device, { to: place(20 + k), port: 123, protocol: UDP, upSize: 76 });
  }

  #renewPrivacyAddress(device: Device): void {
    const { home } = this;
    device.ipv6 = `2001:db8:1::${home.random.between(1, 65_535).toString(16)}:${home.random.between(1, 65_535).toString(16)}`;
    home.shown(device, device.ipv6);
  }

  #beacon(device: Device, name: string, port: number, everyMs: number): void {
    this.#all.push(device);
    this.home.every(everyMs, () => this.visit(device, name, { port, up: 300, down: 200, seconds: 2 }), 0.02);
  }

  /** Away by day; bursts of applications, pushes at night; photographs go to the cloud. */
  #phone(device: Device, resolves: boolean): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    const isHome = () => !this.isBetween(8.5, 16.5);
    home.every(15 * MINUTE, () => {
      if (isHome()) this.visit(device, "push.phone.example", { port: resolves ? 5228 : 5223, seconds: 60 });
    });
    home.every(4 * MINUTE, () => {
      if (!isHome() || this.isBetween(0, 6.5)) return;
      const application = random.between(1, 60);
      for (let k = random.between(3, 25); k > 0; k--) {
        const name = `${random.label(6)}-${random.between(1, 30)}.cdn.app${application}.example`;
        // One of them resolves over HTTPS: its peers have no names here.
        if (resolves) home.after(random.between(0, 4000), () => this.visit(device, name, { quic: true }));
        else
          this.home.flow(device, {
            to: place(random.between(0, CDN_HOSTS)),
            port: 443,
            up: 3000,
            down: 60_000,
            seconds: 4,
          });
      }
    });
    home.every(DAY, () => this.visit(device, "photos.cloud.example", { up: 900_000, down: 9000, seconds: 600 }));
    home.every(DAY / 2, () => {
      if (isHome()) this.#call(device, random.between(60, 1800));
    });
  }

  /** Candidates are tried at several relays and at the other side's addresses; one answers. */
  #call(device: Device, seconds: number): void {
    const { home } = this;
    const { random } = home;
    for (let k = 0; k < 12; k++)
      home.flow(device, {
        to: place(3000 + k),
        port: 3478,
        protocol: UDP,
        upSize: 60,
        peer: random.chance(0.3) ? "silent" : "answers",
      });
    const other = this.#stranger();
    for (let k = 0; k < 6; k++)
      home.flow(device, {
        to: other,
        port: random.between(40_000, 60_000),
        protocol: UDP,
        up: 300,
        upSize: 90,
        seconds: 5,
        peer: "silent",
      });
    home.flow(device, {
      to: other,
      port: random.between(40_000, 60_000),
      protocol: UDP,
      up: 250_000,
      down: 250_000,
      upSize: 1100,
      seconds,
    });
    home.flow(device, {
      to: other,
      port: random.between(40_000, 60_000),
      protocol: UDP,
      up: 8000,
      down: 8000,
      upSize: 160,
      seconds,
    });
  }

  #workLaptop(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(HOUR, () => {
      if (!this.isBetween(8, 18)) return;
      this.visit(device, "vpn.work.example", { port: 51_820, up: 60_000, down: 200_000, seconds: 3500 });
      home.flow(device, {
        to: place(40),
        port: 4500,
        protocol: UDP,
        up: 40_000,
        down: 90_000,
        upSize: 900,
        seconds: 3500,
      });
      if (random.chance(0.4)) this.#call(device, 2700);
      // Machines of the company that are off.
      for (let k = 0; k < 4; k++)
        home.flow(device, {
          to: place(60 + k),
          port: 22,
          peer: random.pick(["answers", "refused", "silent"] as const),
        });
      if (random.chance(0.1)) this.#traceroute(device);
    });
    home.every(3 * MINUTE, () => {
      if (this.isBetween(8, 18)) this.page(device);
    });
  }

  /** Three datagrams for each hop, each to another port; only the last host would answer, and does not. */
  #traceroute(device: Device): void {
    const to = this.#stranger();
    for (let k = 0; k < 60; k++)
      this.home.after(k * 150, () =>
        this.home.flow(device, { to, port: 33_434 + k, protocol: UDP, upSize: 60, peer: "silent" }),
      );
  }

  #browsing(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(
      45 * SECOND,
      () => {
        if (this.isBetween(17, 23)) this.page(device);
      },
      1,
    );
    home.every(DAY, () => {
      // Last evening's tabs, all at once.
      for (let k = 0; k < 15; k++) home.after(k * 700, () => this.page(device));
    });
    // Virus scanners ask their maker for what they see, in names.
    home.every(10 * MINUTE, () => {
      if (!this.isBetween(17, 23)) return;
      for (let k = random.between(3, 12); k > 0; k--)
        home.after(k * 4000, () => home.ask(device, `${random.label(26)}.avqs.mcafee.com`, ["127.128.0.1"]));
    });
  }

  #gamingComputer(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(2 * DAY, () => {
      for (let k = 0; k < 24; k++)
        this.visit(device, `depot${k % 6}.games.example`, { down: 1_200_000, up: 20_000, seconds: 3000, quic: false });
    });
    home.every(DAY / 3, () => {
      if (!this.isBetween(15, 24)) return;
      // The list of servers: each is asked, a third answers nothing.
      for (let k = 0; k < 500; k++) {
        const plan = {
          to: this.#stranger(),
          port: random.chance(0.6) ? 27_015 : 27_016 + random.between(0, 30),
          protocol: UDP,
          upSize: 53,
          peer: random.chance(0.35) ? "silent" : "answers",
        } as const;
        home.after(k * 30, () => home.flow(device, plan));
      }
      // Regions are pinged before a game; some never answer.
      for (let k = 0; k < 8; k++)
        home.flow(device, {
          to: this.#stranger(),
          port: 0,
          protocol: ICMP,
          upSize: 60,
          peer: random.chance(0.4) ? "silent" : "answers",
        });
      home.flow(device, {
        to: this.#stranger(),
        port: 27_015,
        protocol: UDP,
        up: 12_000,
        down: 40_000,
        upSize: 100,
        seconds: 2400,
      });
      home.flow(device, {
        to: place(50),
        port: 50_004,
        protocol: UDP,
        up: 9000,
        down: 20_000,
        upSize: 180,
        seconds: 2400,
      });
    });
    home.every(2 * MINUTE, () => {
      if (this.isBetween(15, 24)) this.page(device);
    });
  }

  #nas(device: Device): void {
    const { home } = this;
    this.#all.push(device);
    let last = -1;
    home.every(5 * MINUTE, () => {
      const day = Math.floor((home.elapsed + this.shiftMs) / DAY);
      if (day === last || !this.isBetween(2, 3)) return;
      last = day;
      for (let k = 0; k < 4; k++)
        this.visit(device, "backup.cloud.example", { up: 800_000, down: 8000, seconds: 3 * 3600, quic: false });
    });
    home.every(20 * MINUTE, () => this.visit(device, "updates.nas.example"));
    // It looks for all that may be on the network, one after the other.
    home.every(DAY, () => {
      for (let host = 10; host < 26; host++) home.arp(device, `192.0.2.${host}`);
      for (let host = 60; host < 68; host++) home.arp(device, `192.0.2.${host}`);
    });
  }

  /** Peers have any port; half of them are gone. Trackers have names. Nodes of the DHT often have the default port. */
  #torrents(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    const port = () => {
      const kind = random.unit();
      if (kind < 0.12) return 6881;
      if (kind < 0.15) return random.pick([80, 443, 8080, 8999, 51_413, 1024, 22, 5000]);
      return random.between(1025, 65_535);
    };
    const contact = () => {
      const isDatagram = random.chance(0.6);
      const peer = random.chance(0.55) ? (random.chance(0.3) ? "refused" : "silent") : "answers";
      home.flow(device, {
        to: this.#stranger(),
        port: port(),
        protocol: isDatagram ? UDP : 6,
        upSize: isDatagram ? 130 : 400,
        up: peer === "answers" ? 3000 : 0,
        down: 30_000,
        seconds: peer === "answers" ? random.between(1, 60) : 0,
        peer: isDatagram && peer === "refused" ? "silent" : peer,
      });
    };
    home.every(40 * SECOND, () => {
      if (!this.isBetween(18, 1)) return;
      for (let k = 0; k < 25; k++) home.after(random.between(0, 30_000), contact);
    });
    // It begins: many peers at once, thirty a second.
    home.every(2 * DAY, () => {
      this.visit(device, "tracker.torrent.example", { port: 6969 });
      for (let k = 0; k < 900; k++) home.after(k * 33, contact);
    });
  }

  #television(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(2 * MINUTE, () => this.visit(device, `telemetry${random.between(1, 4)}.tv.example`, { up: 1500 }));
    // Names that a filter refuses are asked for again and again.
    home.every(10 * MINUTE, () => {
      for (let k = 0; k < 30; k++) home.after(k * 900, () => home.ask(device, `log${k % 3}.ads.tv.example`));
    });
    home.every(12 * MINUTE, () => {
      if (!this.isBetween(18, 23.5)) return;
      for (let k = 0; k < 8; k++)
        this.visit(device, `ipv4-c${random.between(1, 99)}-ams00${k}-ix.1.oca.video.example`, {
          down: 700_000,
          up: 9000,
          seconds: 700,
        });
    });
    home.every(7 * DAY, () =>
      this.visit(device, "firmware.tv.example", { down: 4_000_000, up: 40_000, seconds: 400, quic: false }),
    );
  }

  #camera(device: Device): void {
    const { home } = this;
    this.#all.push(device);
    home.every(
      20 * MINUTE,
      () => this.visit(device, "stream.camera.example", { up: 250_000, down: 2500, seconds: 1150, quic: false }),
      0,
    );
  }

  #motionCamera(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(
      15 * MINUTE,
      () => {
        if (random.chance(this.isBetween(7, 22) ? 0.6 : 0.1))
          this.visit(device, "clips.camera.example", {
            up: 1_500_000,
            down: 9000,
            seconds: random.between(5, 40),
            quic: false,
          });
      },
      1,
    );
    // The maker's servers for meeting peers, by address; of the phone's side some ports are guessed.
    home.every(25 * SECOND, () => {
      for (let k = 0; k < 3; k++)
        home.flow(device, {
          to: place(70 + k),
          port: 32_100,
          protocol: UDP,
          upSize: 60,
          peer: k === 2 ? "silent" : "answers",
        });
    });
    home.every(DAY / 2, () => {
      const phone = this.#stranger();
      for (let k = 0; k < 8; k++)
        home.flow(device, {
          to: phone,
          port: 20_000 + k,
          protocol: UDP,
          up: 120,
          upSize: 60,
          seconds: 4,
          peer: k === 0 ? "answers" : "silent",
        });
    });
    home.every(7 * DAY, () =>
      this.visit(device, "firmware.camera.example", { down: 2_000_000, seconds: 30, quic: false }),
    );
  }

  /** Asks every device of the home who it is, when it starts and by night. */
  #hub(device: Device): void {
    const { home } = this;
    this.#all.push(device);
    home.every(MINUTE, () => this.visit(device, "hub.vendor.example", { port: 8883, up: 200, down: 200 }));
    home.every(DAY / 2, () => {
      for (let host = 10; host < 27; host++) home.arp(device, `192.0.2.${host}`);
    });
    // Whoever announces itself is answered.
    home.every(5 * MINUTE, () =>
      home.flow(device, { to: "239.255.255.250", port: 1900, protocol: UDP, upSize: 200, peer: "silent" }),
    );
  }

  #speaker(device: Device): void {
    const { home } = this;
    this.#all.push(device);
    home.every(4 * MINUTE, () => {
      if (this.isBetween(7, 9) || this.isBetween(17, 22))
        this.visit(device, "audio.music.example", { down: 60_000, seconds: 200 });
    });
    home.every(2 * MINUTE, () =>
      home.flow(device, { to: "224.0.0.251", port: 5353, protocol: UDP, upSize: 300, peer: "silent" }),
    );
  }

  /** Sleeps; when it wakes it asks for a dozen of neighbours. */
  #printer(device: Device): void {
    const { home } = this;
    this.#all.push(device);
    home.every(DAY / 2, () => {
      for (let host = 1; host < 12; host++) home.arp(device, `192.0.2.${host}`);
      this.visit(device, "ink.printer.example", { up: 500 });
    });
  }

  /** Wakes for a moment each hour, and sends what it saw. */
  #doorbell(device: Device): void {
    this.#all.push(device);
    this.home.every(HOUR, () => {
      this.home.lease(device);
      this.visit(device, "bell.vendor.example", { up: 600_000, down: 4000, seconds: 20, quic: false });
    });
  }

  #console(device: Device): void {
    const { home } = this;
    const { random } = home;
    this.#all.push(device);
    home.every(3 * DAY, () => {
      for (let k = 0; k < 6; k++)
        this.visit(device, "update.console.example", { port: 80, down: 4_000_000, up: 40_000, seconds: 1500 });
    });
    home.every(HOUR, () => {
      if (!this.isBetween(16, 22)) return;
      // Other players, all on the game's port; a few can't be reached.
      for (let k = 0; k < 16; k++) {
        const isGone = random.chance(0.3);
        home.flow(device, {
          to: this.#stranger(),
          port: 3074,
          protocol: UDP,
          up: isGone ? 1200 : 6000,
          down: 6000,
          upSize: 120,
          seconds: isGone ? 8 : 900,
          peer: isGone ? "silent" : "answers",
        });
      }
    });
  }

  /** Somebody's telephone, with an address of its own choice, for some hours. */
  #guest(): void {
    const { home } = this;
    const guest = home.device(0x1000 + this.#guests, `guest-${this.#guests++}`);
    guest.ipv4 = `192.0.2.${200 + (this.#guests % 40)}`;
    home.lease(guest, 3);
    for (let k = 0; k < 40; k++)
      home.after(k * 3 * MINUTE, () => {
        home.shown(guest, guest.ipv4);
        for (let n = 0; n < 12; n++) this.visit(guest, `${home.random.label(5)}.cdn.app${n}.example`, {});
      });
  }
}
