/**
 * A datagram to systemd's notification socket (sd_notify(3)): Node has no datagram sockets of the Unix domain. What is said:
 * runtime/watch/service.ts. Tested by test/lab/watch.test.ts.
 */
import { LITTLE_ENDIAN, libc } from "./libc.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM } from "./linux.ts";

/** sun_path of struct sockaddr_un, unix(7). */
const LONGEST_PATH = 108;

/** @param path a file's name, or after an @ an abstract one @returns whether it was sent */
export function sendDatagram(path: string, message: string): boolean {
  const name = Buffer.from(path.replace(/^@/, "\0"));
  if (name.length >= LONGEST_PATH) return false;
  const address = Buffer.alloc(2 + name.length + (name[0] === 0 ? 0 : 1));
  if (LITTLE_ENDIAN) address.writeUInt16LE(AF_UNIX);
  else address.writeUInt16BE(AF_UNIX);
  name.copy(address, 2);
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bytes = Buffer.from(message);
  const sent =
    libc.connect(fd, address, address.length) === 0 && libc.send(fd, bytes, bytes.length, 0) === bytes.length;
  libc.close(fd);
  return sent;
}
