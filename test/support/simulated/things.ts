/** What each thing of the household does, day and night. */
import { type Device, DAY, HOUR, ICMP, MINUTE, SECOND, UDP } from "./home.ts";
import type { Household } from "./household.ts";
import { CDN_HOSTS, place } from "./places.ts";

export function beacon(family: Household, device: Device, name: string, port: number, everyMs: number): void {
  family.home.every(everyMs, () => family.visit(device, name, { port, up: 300, down: 200, seconds: 2 }), 0.02);
}

/** Away by day; bursts of applications, pushes at night; photographs go to the cloud. */
export function phone(family: Household, device: Device, resolves: boolean): void {
  const { home } = family;
  const { random } = home;
  const isHome = () => !family.isBetween(8.5, 16.5);
  home.every(15 * MINUTE, () => {
    if (isHome()) family.visit(device, "push.phone.example", { port: resolves ? 5228 : 5223, seconds: 60 });
  });
  home.every(4 * MINUTE, () => {
    if (!isHome() || family.isBetween(0, 6.5)) return;
    const application = random.between(1, 60);
    for (let k = random.between(3, 25); k > 0; k--) {
      const name = `${random.label(6)}-${random.between(1, 30)}.cdn.app${application}.example`;
      // One of them resolves over HTTPS: its peers have no names here.
      if (resolves) home.after(random.between(0, 4000), () => family.visit(device, name, { quic: true }));
      else
        family.home.flow(device, {
          to: place(random.between(0, CDN_HOSTS)),
          port: 443,
          up: 3000,
          down: 60_000,
          seconds: 4,
        });
    }
  });
  home.every(DAY, () => family.visit(device, "photos.cloud.example", { up: 900_000, down: 9000, seconds: 600 }));
  home.every(DAY / 2, () => {
    if (isHome()) call(family, device, random.between(60, 1800));
  });
}

/** Candidates are tried at several relays and at the other side's addresses; one answers. */
function call(family: Household, device: Device, seconds: number): void {
  const { home } = family;
  const { random } = home;
  for (let k = 0; k < 12; k++)
    home.flow(device, {
      to: place(3000 + k),
      port: 3478,
      protocol: UDP,
      upSize: 60,
      peer: random.chance(0.3) ? "silent" : "answers",
    });
  const other = family.stranger();
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

export function workLaptop(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(HOUR, () => {
    if (!family.isBetween(8, 18)) return;
    family.visit(device, "vpn.work.example", { port: 51_820, up: 60_000, down: 200_000, seconds: 3500 });
    home.flow(device, {
      to: place(40),
      port: 4500,
      protocol: UDP,
      up: 40_000,
      down: 90_000,
      upSize: 900,
      seconds: 3500,
    });
    if (random.chance(0.4)) call(family, device, 2700);
    // Machines of the company that are off.
    for (let k = 0; k < 4; k++)
      home.flow(device, {
        to: place(60 + k),
        port: 22,
        peer: random.pick(["answers", "refused", "silent"] as const),
      });
    if (random.chance(0.1)) traceroute(family, device);
  });
  home.every(3 * MINUTE, () => {
    if (family.isBetween(8, 18)) family.page(device);
  });
}

/** Three datagrams for each hop, each to another port; only the last host would answer, and does not. */
function traceroute(family: Household, device: Device): void {
  const to = family.stranger();
  for (let k = 0; k < 60; k++)
    family.home.after(k * 150, () =>
      family.home.flow(device, { to, port: 33_434 + k, protocol: UDP, upSize: 60, peer: "silent" }),
    );
}

export function browsing(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(
    45 * SECOND,
    () => {
      if (family.isBetween(17, 23)) family.page(device);
    },
    1,
  );
  home.every(DAY, () => {
    // Last evening's tabs, all at once.
    for (let k = 0; k < 15; k++) home.after(k * 700, () => family.page(device));
  });
  // Virus scanners ask their maker for what they see, in names.
  home.every(10 * MINUTE, () => {
    if (!family.isBetween(17, 23)) return;
    for (let k = random.between(3, 12); k > 0; k--)
      home.after(k * 4000, () => home.ask(device, `${random.label(26)}.avqs.mcafee.com`, ["127.128.0.1"]));
  });
}

export function gamingComputer(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(2 * DAY, () => {
    for (let k = 0; k < 24; k++)
      family.visit(device, `depot${k % 6}.games.example`, { down: 1_200_000, up: 20_000, seconds: 3000, quic: false });
  });
  home.every(DAY / 3, () => {
    if (!family.isBetween(15, 24)) return;
    // The list of servers: each is asked, a third answers nothing.
    for (let k = 0; k < 500; k++) {
      const plan = {
        to: family.stranger(),
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
        to: family.stranger(),
        port: 0,
        protocol: ICMP,
        upSize: 60,
        peer: random.chance(0.4) ? "silent" : "answers",
      });
    home.flow(device, {
      to: family.stranger(),
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
    if (family.isBetween(15, 24)) family.page(device);
  });
}

export function nas(family: Household, device: Device): void {
  const { home } = family;
  let last = -1;
  home.every(5 * MINUTE, () => {
    const day = Math.floor((home.elapsed + family.shiftMs) / DAY);
    if (day === last || !family.isBetween(2, 3)) return;
    last = day;
    for (let k = 0; k < 4; k++)
      family.visit(device, "backup.cloud.example", { up: 800_000, down: 8000, seconds: 3 * 3600, quic: false });
  });
  home.every(20 * MINUTE, () => family.visit(device, "updates.nas.example"));
  // It looks for all that may be on the network, one after the other.
  home.every(DAY, () => {
    for (let host = 10; host < 26; host++) home.arp(device, `192.0.2.${host}`);
    for (let host = 60; host < 68; host++) home.arp(device, `192.0.2.${host}`);
  });
}

/** Peers have any port; half of them are gone. Trackers have names. Nodes of the DHT often have the default port. */
export function torrents(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
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
      to: family.stranger(),
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
    if (!family.isBetween(18, 1)) return;
    for (let k = 0; k < 25; k++) home.after(random.between(0, 30_000), contact);
  });
  // It begins: many peers at once, thirty a second.
  home.every(2 * DAY, () => {
    family.visit(device, "tracker.torrent.example", { port: 6969 });
    for (let k = 0; k < 900; k++) home.after(k * 33, contact);
  });
}

export function television(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(2 * MINUTE, () => family.visit(device, `telemetry${random.between(1, 4)}.tv.example`, { up: 1500 }));
  // Names that a filter refuses are asked for again and again.
  home.every(10 * MINUTE, () => {
    for (let k = 0; k < 30; k++) home.after(k * 900, () => home.ask(device, `log${k % 3}.ads.tv.example`));
  });
  home.every(12 * MINUTE, () => {
    if (!family.isBetween(18, 23.5)) return;
    for (let k = 0; k < 8; k++)
      family.visit(device, `ipv4-c${random.between(1, 99)}-ams00${k}-ix.1.oca.video.example`, {
        down: 700_000,
        up: 9000,
        seconds: 700,
      });
  });
  home.every(7 * DAY, () =>
    family.visit(device, "firmware.tv.example", { down: 4_000_000, up: 40_000, seconds: 400, quic: false }),
  );
}

export function camera(family: Household, device: Device): void {
  const { home } = family;
  home.every(
    20 * MINUTE,
    () => family.visit(device, "stream.camera.example", { up: 250_000, down: 2500, seconds: 1150, quic: false }),
    0,
  );
}

export function motionCamera(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(
    15 * MINUTE,
    () => {
      if (random.chance(family.isBetween(7, 22) ? 0.6 : 0.1))
        family.visit(device, "clips.camera.example", {
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
    const phone = family.stranger();
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
    family.visit(device, "firmware.camera.example", { down: 2_000_000, seconds: 30, quic: false }),
  );
}

/** Asks every device of the home who it is, when it starts and by night. */
export function hub(family: Household, device: Device): void {
  const { home } = family;
  home.every(MINUTE, () => family.visit(device, "hub.vendor.example", { port: 8883, up: 200, down: 200 }));
  home.every(DAY / 2, () => {
    for (let host = 10; host < 27; host++) home.arp(device, `192.0.2.${host}`);
  });
  // Whoever announces itself is answered.
  home.every(5 * MINUTE, () =>
    home.flow(device, { to: "239.255.255.250", port: 1900, protocol: UDP, upSize: 200, peer: "silent" }),
  );
}

export function speaker(family: Household, device: Device): void {
  const { home } = family;
  home.every(4 * MINUTE, () => {
    if (family.isBetween(7, 9) || family.isBetween(17, 22))
      family.visit(device, "audio.music.example", { down: 60_000, seconds: 200 });
  });
  home.every(2 * MINUTE, () =>
    home.flow(device, { to: "224.0.0.251", port: 5353, protocol: UDP, upSize: 300, peer: "silent" }),
  );
}

/** Sleeps; when it wakes it asks for a dozen of neighbours. */
export function printer(family: Household, device: Device): void {
  const { home } = family;
  home.every(DAY / 2, () => {
    for (let host = 1; host < 12; host++) home.arp(device, `192.0.2.${host}`);
    family.visit(device, "ink.printer.example", { up: 500 });
  });
}

/** Wakes for a moment each hour, and sends what it saw. */
export function doorbell(family: Household, device: Device): void {
  family.home.every(HOUR, () => {
    family.home.lease(device);
    family.visit(device, "bell.vendor.example", { up: 600_000, down: 4000, seconds: 20, quic: false });
  });
}

export function gameConsole(family: Household, device: Device): void {
  const { home } = family;
  const { random } = home;
  home.every(3 * DAY, () => {
    for (let k = 0; k < 6; k++)
      family.visit(device, "update.console.example", { port: 80, down: 4_000_000, up: 40_000, seconds: 1500 });
  });
  home.every(HOUR, () => {
    if (!family.isBetween(16, 22)) return;
    // Other players, all on the game's port; a few can't be reached.
    for (let k = 0; k < 16; k++) {
      const isGone = random.chance(0.3);
      home.flow(device, {
        to: family.stranger(),
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
