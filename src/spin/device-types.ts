/**
 * What sort of thing a device may be: a guess, and why. The table is read from the top and the first rule that speaks
 * decides, so what is told by the maker stands before what a person could have typed, and the maker's name alone last.
 * Nothing is guessed because nothing else fits.
 */

export const DEVICE_TYPES = [
  "Camera",
  "Doorbell",
  "Printer",
  "Television",
  "MediaPlayer",
  "Speaker",
  "Phone",
  "Tablet",
  "Watch",
  "Computer",
  "GameConsole",
  "Storage",
  "Router",
  "Hub",
  "Light",
  "Plug",
  "Thermostat",
  "Vacuum",
  "Appliance",
  "EnergyMeter",
  "SmartHome",
] as const;
export type DeviceType = (typeof DEVICE_TYPES)[number] | "";

export interface Clues {
  readonly hostName: string;
  readonly vendorClass: string;
  readonly model: string;
  /** DNS-SD types. */
  readonly services: readonly string[];
  /** DHCP option 55, in the device's order. */
  readonly parameterList: readonly number[];
  readonly vendor: string;
}

type Rule =
  | { readonly type: DeviceType; readonly by: "model" | "vendorClass" | "hostName" | "vendor"; readonly like: RegExp }
  /** Any of these services, and none of those: computers share printers and disks. */
  | { readonly type: DeviceType; readonly by: "services"; readonly any: string; readonly none?: string }
  | { readonly type: DeviceType; readonly by: "parameterList"; readonly is: string };

const COMPUTER_SERVICES = "_workstation._tcp _ssh._tcp _rfb._tcp _rdp._tcp _sftp-ssh._tcp";

const RULES: readonly Rule[] = [
  // The maker's word for its own product.
  { type: "Doorbell", by: "model", like: /doorbell/i },
  { type: "Camera", by: "model", like: /\b(?:ip|network)?.?camera\b|\bipcam|\bnvr\b/i },
  { type: "Television", by: "model", like: /\b(?:smart.?tv|bravia|[uo]led ?tv|android tv|webos)\b/i },
  { type: "MediaPlayer", by: "model", like: /^(?:appletv|chromecast|roku|fire ?tv)/i },
  { type: "Speaker", by: "model", like: /^(?:audioaccessory|sonos|homepod|nest (?:mini|audio)|google home)/i },
  { type: "Computer", by: "model", like: /^(?:macbook|imac|macmini|macpro|mac\d+,)/i },
  { type: "Phone", by: "model", like: /^iphone/i },
  { type: "Tablet", by: "model", like: /^ipad/i },
  { type: "Printer", by: "model", like: /laserjet|officejet|deskjet|\bpixma\b|\becotank\b|\bmfc-|\bprinter\b/i },
  { type: "Storage", by: "model", like: /\b(?:diskstation|rackstation|readynas|turbonas|my ?cloud)\b/i },
  { type: "Router", by: "model", like: /\b(?:openwrt|access point|router|routeros|edgeswitch|unifi)\b/i },
  { type: "Light", by: "model", like: /\b(?:bulb|lightstrip|lamp|dimmer)\b/i },

  // What it offers on the network.
  { type: "Printer", by: "services", any: "_pdl-datastream._tcp _scanner._tcp _uscan._tcp" },
  { type: "Printer", by: "services", any: "_ipp._tcp _ipps._tcp _printer._tcp", none: COMPUTER_SERVICES },
  { type: "Camera", by: "services", any: "_axis-video._tcp _onvif._tcp _camera._tcp _psia._tcp" },
  { type: "Hub", by: "services", any: "_hue._tcp _ihsp._tcp _home-assistant._tcp _meshcop._udp" },
  { type: "Speaker", by: "services", any: "_sonos._tcp _spotify-connect._tcp" },
  { type: "Television", by: "services", any: "_androidtvremote2._tcp _androidtvremote._tcp _webostv._tcp" },
  { type: "MediaPlayer", by: "services", any: "_googlecast._tcp _amzn-wplay._tcp _appletv-v2._tcp _roku-rcp._tcp" },
  { type: "Storage", by: "services", any: "_adisk._tcp _nfs._tcp", none: "_companion-link._tcp" },
  { type: "Phone", by: "services", any: "_apple-mobdev2._tcp" },
  { type: "Computer", by: "services", any: COMPUTER_SERVICES },
  { type: "Plug", by: "services", any: "_shelly._tcp" },
  { type: "Light", by: "services", any: "_elg._tcp _wled._tcp _nanoleafapi._tcp _yeelight._tcp" },
  { type: "EnergyMeter", by: "services", any: "_hwenergy._tcp _enphase-envoy._tcp" },
  { type: "SmartHome", by: "services", any: "_hap._tcp _hap._udp _matter._tcp _matterc._udp _esphomelib._tcp" },

  // What its DHCP client calls itself (option 60).
  { type: "Camera", by: "vendorClass", like: /network camera|hikvision|dahua|ipcam/i },
  { type: "Printer", by: "vendorClass", like: /jetdirect|printer|laserjet/i },
  { type: "GameConsole", by: "vendorClass", like: /^(?:PS[345]|xbox|nintendo)/i },
  { type: "Television", by: "vendorClass", like: /\b(?:smart.?tv|tizen|webos)\b/i },
  { type: "Router", by: "vendorClass", like: /^(?:ubnt|cisco ap|arubaap|ruckus)/i },
  { type: "Phone", by: "vendorClass", like: /^(?:android-dhcp|yealink|snom|grandstream)/i },
  { type: "Computer", by: "vendorClass", like: /^MSFT / },

  // The name it gives itself.
  { type: "Doorbell", by: "hostName", like: /doorbell/i },
  { type: "Camera", by: "hostName", like: /(?:^|[-_ ])(?:ip)?cam(?:era)?(?:[-_ \d]|$)/i },
  {
    type: "Phone",
    by: "hostName",
    like: /iphone|(?:^|[-_ ])phone(?:[-_ \d]|$)|^galaxy-[asz]\d|^pixel-\d|^oneplus|^redmi|^android-[0-9a-f]{8}/i,
  },
  { type: "Tablet", by: "hostName", like: /ipad|(?:^|[-_ ])tablet(?:[-_ ]|$)|^galaxy-tab/i },
  { type: "Watch", by: "hostName", like: /apple-?watch|galaxy-?watch/i },
  { type: "Computer", by: "hostName", like: /macbook|^imac|mac-?mini|^(?:desktop|laptop)-[a-z0-9]{7}$|thinkpad/i },
  { type: "GameConsole", by: "hostName", like: /^(?:ps[345]|playstation|xbox|nintendo|switch-?console)/i },
  { type: "MediaPlayer", by: "hostName", like: /apple-?tv|chromecast|^roku|fire-?tv/i },
  { type: "Television", by: "hostName", like: /smart-?tv|(?:^|[-_ ])tv(?:[-_ ]|$)|^bravia|^lgwebos/i },
  { type: "Speaker", by: "hostName", like: /sonos|homepod|^echo-|google-home|(?:^|[-_ ])speaker(?:[-_ ]|$)/i },
  { type: "Printer", by: "hostName", like: /^(?:hp|npi|brw|brn|epson|canon)[0-9a-f]{6}|printer/i },
  { type: "Storage", by: "hostName", like: /diskstation|(?:^|[-_ ])nas(?:[-_ \d]|$)/i },
  { type: "Vacuum", by: "hostName", like: /roomba|roborock|vacuum/i },
  { type: "Thermostat", by: "hostName", like: /thermostat|^tado|^ecobee/i },
  { type: "Plug", by: "hostName", like: /^shelly(?:plug|1|plus)|(?:^|[-_ ])plug(?:[-_ \d]|$)|^hs1\d\d$/i },
  { type: "Light", by: "hostName", like: /(?:^|[-_ ])(?:bulb|lamp)(?:[-_ \d]|$)|^wled/i },
  { type: "Hub", by: "hostName", like: /^(?:philips-hue|hue-bridge|homeassistant)/i },

  // The order in which its DHCP client asks for options tells operating systems apart.
  { type: "Computer", by: "parameterList", is: "1,3,6,15,31,33,43,44,46,47,119,121,249,252" },
  { type: "Computer", by: "parameterList", is: "1,121,3,6,15,108,114,119,252,95,44,46" },
  { type: "Computer", by: "parameterList", is: "1,121,3,6,15,119,252,95,44,46" },
  { type: "Phone", by: "parameterList", is: "1,121,3,6,15,108,114,119,252" },
  { type: "Phone", by: "parameterList", is: "1,121,3,6,15,119,252" },

  // Makers of one sort of thing.
  { type: "Camera", by: "vendor", like: /hikvision|dahua|axis communications|reolink|\bring llc|arlo technologies/i },
  { type: "Speaker", by: "vendor", like: /\bsonos\b|\bbose\b/i },
  { type: "GameConsole", by: "vendor", like: /nintendo|sony interactive/i },
  { type: "MediaPlayer", by: "vendor", like: /\broku\b/i },
  { type: "Vacuum", by: "vendor", like: /irobot|roborock|ecovacs/i },
  { type: "Storage", by: "vendor", like: /synology|qnap/i },
  { type: "Thermostat", by: "vendor", like: /ecobee|tado gmbh/i },
  { type: "Printer", by: "vendor", like: /brother industries|seiko epson|kyocera|lexmark/i },
  { type: "Hub", by: "vendor", like: /philips lighting/i },
  { type: "Light", by: "vendor", like: /signify|lifi labs|nanoleaf/i },
  { type: "Plug", by: "vendor", like: /shelly|allterco/i },
  { type: "SmartHome", by: "vendor", like: /tuya|espressif/i },
];

const WORDS = {
  model: "calls its model",
  vendorClass: "gives DHCP the vendor class",
  hostName: "calls itself",
  vendor: "has an address of",
} as const;
/** Of what the device said, in the reason. */
const MAX_QUOTE = 64;

/** @returns `type` and `reason` both empty where nothing speaks for any */
export function guessType(clues: Clues): { readonly type: DeviceType; readonly reason: string } {
  for (const rule of RULES) {
    const reason = reasonOf(rule, clues);
    if (reason !== undefined) return { type: rule.type, reason };
  }
  return { type: "", reason: "" };
}

function reasonOf(rule: Rule, clues: Clues): string | undefined {
  if (rule.by === "services") {
    const offered = rule.any.split(" ").find((service) => clues.services.includes(service));
    const isOther = rule.none?.split(" ").some((service) => clues.services.includes(service)) ?? false;
    return offered !== undefined && !isOther ? `offers ${offered}` : undefined;
  }
  if (rule.by === "parameterList")
    return String(clues.parameterList) === rule.is ? `asks DHCP for the options ${rule.is}` : undefined;
  const text = clues[rule.by];
  return text !== "" && rule.like.test(text) ? `${WORDS[rule.by]} "${text.slice(0, MAX_QUOTE)}"` : undefined;
}
