/** Where local doors stand unless told otherwise, the resident's among them: the agent listens there, `ctl` looks there. */
export const SOCKET_FOLDER = "/run/spin-usp";
export const RESIDENT_SOCKET = `${SOCKET_FOLDER}/resident.sock`;
