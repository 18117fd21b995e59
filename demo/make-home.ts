/**
 * The small home of the demo: eight devices of different character, 80 s long, made from a seed. One camera behaves for
 * a while, then looks up somebody it should not know, scans the home and the Internet, and floods.
 *
 * Addresses are those for documentation and locally administered ones, names are under `.example`.
 */
import { writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Device, Service } from "./traffic.ts";
import { Traffic } from "./traffic.ts";

export interface HomeOptions {
  readonly seed?: number;
  /** Milliseconds since 1970 of the first packet. */
  readonly startMs?: number;
}

/** When the camera turns (it looks up its new master), scans, and floods: milliseconds after the start. */
export const CAMERA_TURNS_MS = 35_000;
export const CAMERA_SCANS_MS = 37_000;
export const CAMERA_FLOODS_MS = 48_000;
export const HOME_LASTS_MS = 80_000;

function device(name: string, last: number): Device {
  const hex = last.toString(16).padStart(2, "0");
  return { name, mac: `02:00:00:00:01:${hex.toUpperCase()}`, ipv4: `192.168.1.${last}`, ipv6: `2001:db8:1::${hex}` };
}

export const CAMERA = device("hall-camera", 20);
const SPEAKER = device("kitchen-speaker", 21);
const TELEVISION = device("living-room-tv", 22);
const PHONE = device("annas-phone", 23);
const LAPTOP = device("office-laptop", 24);
const THERMOSTAT = device("thermostat", 25);
const PLUG = device("washing-plug", 26);
const PRINTER = device("printer", 27);
export const HOME_DEVICES: readonly Device[] = [CAMERA, SPEAKER, TELEVISION, PHONE, LAPTOP, THERMOSTAT, PLUG, PRINTER];

const at = (last: number) => ({ ipv4: `198.51.100.${last}`, ipv6: `2001:db8:cafe::${last.toString(16)}` });
const CLOUD: Service = { names: ["cloud.camera-maker.example", "eu.camera-maker.example"], ...at(10), port: 443 };
const MUSIC: Service = {
  names: ["stream.music.example", "music.cdn.example", "edge-7.cdn.example"],
  ...at(20),
  port: 443,
};
const ASSISTANT: Service = { names: ["assistant.speaker-maker.example"], ...at(21), port: 443 };
const VIDEO: Service = { names: ["video.tv.example", "video.cdn.example", "edge-3.cdn.example"], ...at(30), port: 443 };
const ADVERTS: Service = { names: ["metrics.tv-maker.example"], ...at(31), port: 443 };
const NEWS: Service = { names: ["www.news.example", "news.cdn.example"], ...at(40), port: 443 };
const CHAT: Service = { names: ["chat.messenger.example"], ...at(41), port: 443 };
const PHOTOS: Service = { names: ["photos.cloud.example"], ...at(42), port: 443 };
const MEETING: Service = { names: ["media.meeting.example"], ...at(50), port: 3478 };
const WORK: Service = { names: ["git.work.example"], ipv4: "203.0.113.30", port: 22 };
const HEATING: Service = { names: ["mqtt.heating.example"], ipv4: "203.0.113.40", port: 8883 };
const PLUGS: Service = { names: ["api.plugs.example"], ipv4: "203.0.113.41", port: 8883 };
const TIME: Service = { names: ["pool.time.example"], ipv4: "203.0.113.123", port: 123 };
const MASTER: Service = { names: ["update.botherd.example"], ipv4: "203.0.113.66", port: 6667 };
const VICTIM = "198.51.100.250";

/** The capture as a pcap file; the same bytes for the same options. */
export function makeHome(options: HomeOptions = {}): Buffer {
  const { seed = 20_260_115, startMs = Date.UTC(2026, 0, 15, 18, 0, 0) } = options;
  const traffic = new Traffic(startMs, seed);
  for (let due = 0; due < HOME_LASTS_MS; due += 20_000) traffic.advertise(due);
  for (const [index, each] of HOME_DEVICES.entries()) traffic.join(100 + 300 * index, each);
  residents(traffic);
  things(traffic);
  camera(traffic);
  return traffic.file();
}

/** The same, gzipped. */
export function makeHomeGzip(options: HomeOptions = {}): Buffer {
  return gzipSync(makeHome(options));
}

/** Writes the capture, gzipped, to a file. */
export function writeDemoHome(path: string, options: HomeOptions = {}): void {
  writeFileSync(path, makeHomeGzip(options));
}

/** What people do: they browse, chat, meet and watch. */
function residents(traffic: Traffic): void {
  traffic.visit(4_000, TELEVISION, VIDEO, { up: 6_000, down: 1_400_000, lastsMs: 70_000, isIpv6: true });
  for (const due of [6_000, 30_000, 55_000])
    traffic.visit(due, TELEVISION, ADVERTS, { up: 9_000, down: 900, lastsMs: 400 });
  for (const due of [5_000, 21_000, 44_000, 63_000])
    traffic.visit(due, PHONE, NEWS, { up: 4_000, down: 90_000, lastsMs: 1_500, isIpv6: true });
  traffic.keepAlive(5_500, PHONE, CHAT, 6_000, HOME_LASTS_MS);
  traffic.visit(26_000, PHONE, PHOTOS, { up: 240_000, down: 3_000, lastsMs: 9_000, isIpv6: true });
  traffic.ping(12_000, LAPTOP, MEETING.ipv4);
  traffic.ping(12_500, LAPTOP, MEETING.ipv6 as string);
  const meeting = { up: 320_000, down: 420_000, lastsMs: 60_000, isIpv6: true };
  traffic.stream(13_000, LAPTOP, MEETING, meeting, { up: 400, down: 700 });
  traffic.visit(18_000, LAPTOP, WORK, { up: 20_000, down: 60_000, lastsMs: 12_000 });
}

/** What things do by themselves. */
function things(traffic: Traffic): void {
  traffic.visit(7_000, SPEAKER, MUSIC, { up: 4_000, down: 480_000, lastsMs: 66_000 });
  traffic.keepAlive(3_500, SPEAKER, ASSISTANT, 10_000, HOME_LASTS_MS);
  traffic.keepAlive(3_800, THERMOSTAT, HEATING, 8_000, HOME_LASTS_MS);
  traffic.keepAlive(4_200, PLUG, PLUGS, 15_000, HOME_LASTS_MS);
  for (const each of [CAMERA, THERMOSTAT, PLUG, PRINTER])
    traffic.askTime(3_000 + 200 * (each.mac.charCodeAt(16) % 8), each, TIME);
  for (const due of [3_300, 23_300, 53_300]) {
    traffic.announce(due, PRINTER, "_ipp._tcp.local");
    traffic.announce(due + 400, SPEAKER, "_music._tcp.local");
  }
}

/** The camera: honest until it turns. */
function camera(traffic: Traffic): void {
  traffic.visit(4_500, CAMERA, CLOUD, { up: 900_000, down: 9_000, lastsMs: HOME_LASTS_MS - 6_000, isIpv6: true });
  traffic.keepAlive(3_600, CAMERA, CLOUD, 9_000, HOME_LASTS_MS);

  traffic.visit(CAMERA_TURNS_MS, CAMERA, MASTER, { up: 2_000, down: 42_000, lastsMs: 1_200 });
  for (let i = 2; i < 120; i++) traffic.probe(CAMERA_SCANS_MS + i * 30, CAMERA, `192.168.1.${i}`);
  for (let i = 0; i < 500; i++) {
    const address = `198.18.${i % 4}.${1 + ((i * 37) % 250)}`;
    traffic.knock(CAMERA_SCANS_MS + 500 + i * 20, CAMERA, address, i % 3 === 0 ? 2323 : 23, traffic.random() < 0.1);
  }
  const flood: Service = { names: ["target.victim.example"], ipv4: VICTIM, port: 80 };
  const lastsMs = HOME_LASTS_MS - CAMERA_FLOODS_MS - 500;
  traffic.stream(CAMERA_FLOODS_MS, CAMERA, flood, { up: 2_600_000, down: 0, lastsMs }, { up: 200, down: 0 });
}
