/**
 * Sixteen devices that do nothing wrong, day by day: what a family's things were seen to do, as far as detectors could
 * mistake it. Rates and counts are those of the programs' own manuals and of captures; where they are a guess, the guess
 * is on the loud side.
 */
import { type Device, DAY, HOUR, MINUTE, SECOND, type SimulatedHome, UDP } from "./home.ts";
import { CDN_HOSTS, place, place6 } from "./places.ts";
import * as things from "./things.ts";

export class Household {
  readonly home: SimulatedHome;
  /** What the family's day is shifted by: daylight saving. */
  shiftMs = 0;
  readonly #names = new Map<string, number>();
  #nextPlace = 5000;
  #guests = 100;
  readonly #all: Device[] = [];

  constructor(home: SimulatedHome) {
    this.home = home;
    const device = (index: number, name: string) => {
      const made = home.device(index, name);
      this.#all.push(made);
      return made;
    };
    things.phone(this, device(1, "phone-anna"), true);
    things.phone(this, device(2, "phone-ben"), false);
    things.workLaptop(this, device(3, "laptop-work"));
    things.browsing(this, device(4, "laptop-home"));
    things.gamingComputer(this, device(5, "computer"));
    things.nas(this, device(6, "nas"));
    things.torrents(this, device(7, "seedbox"));
    things.television(this, device(8, "tv"));
    things.camera(this, device(9, "camera-door"));
    things.motionCamera(this, device(10, "camera-garden"));
    things.beacon(this, device(11, "thermostat"), "mqtt.thermo.example", 8883, MINUTE);
    things.hub(this, device(12, "hub"));
    things.speaker(this, device(13, "speaker"));
    things.printer(this, device(14, "printer"));
    things.doorbell(this, device(15, "doorbell"));
    things.gameConsole(this, device(16, "console"));
    for (const each of this.#all) {
      home.every(10 * MINUTE, () => home.shown(each, each.ipv4));
      home.every(6 * HOUR, () => home.lease(each));
      home.every(DAY, () => this.#renewPrivacyAddress(each));
      home.every(HOUR, () => this.#time(each));
      home.every(5 * MINUTE, () => home.arp(each, "192.0.2.1"));
    }
    home.every(2 * DAY, () => this.#guest());
  }

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

  stranger(): string {
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
