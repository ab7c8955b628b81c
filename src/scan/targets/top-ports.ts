/**
 * The ports most worth probing first, for `--top-ports`.
 *
 * The ranking is this project's own, from what servers, desktops, printers, cameras and routers are commonly known to
 * listen on; it is neither measured nor taken from nmap-services. The ports without a rank follow in ascending order.
 */
import { ERROR_CODES, SynprobeError } from "../../errors.ts";
import { MAX_PORT, MIN_PORT } from "./port-list.ts";

/** Most likely open first. One line for each kind of service, the kinds in order as well. */
const RANKING: readonly number[] = [
  // What nearly every network has: web, remote shells and desktops, Windows, mail, names, files.
  80, 443, 22, 3389, 445, 8080, 139, 135, 21, 25, 53, 8443, 23, 110, 143, 993, 995, 587, 3306, 5900, 111, 465,
  // Web again: development servers, proxies, administration.
  8000, 8888, 8081, 3000, 5000, 8008, 81, 9090, 10_000, 8082, 8083, 9000, 8001, 8090, 5001, 82, 88, 8181,
  9443, 4443, 8880, 7001, 2082, 2083, 2086, 2087, 2095, 2096, 8088, 8089, 8009, 9080, 4433, 10_443, 7080,
  7443, 83, 84, 85, 8084, 8085, 8086, 8087, 8444, 8445, 9001, 9002, 9091, 3001, 4000, 5080, 5443, 6080, 1080,
  3128, 8118, 8123,
  // Databases, caches, search, queues.
  5432, 1433, 6379, 27_017, 1521, 9200, 11_211, 5672, 15_672, 5984, 9300, 9042, 50_000, 27_018, 28_017, 1434,
  33_060, 3050, 7474, 7687, 26_257, 8529, 2181, 9092, 61_616, 1883, 8883, 4369, 5671, 4222, 6432, 26_379,
  16_379, 7000, 9160,
  // Directories, Windows services and their dynamic ports.
  389, 636, 3268, 3269, 464, 593, 5985, 5986, 47_001, 49_152, 49_153, 49_154, 49_155, 49_156, 49_157, 49_664,
  49_665, 49_666, 49_667, 49_668, 49_669, 5357, 2179, 9389, 1025, 1026, 1027, 1028, 1029, 1030,
  // Files, backup, virtual machines, remote administration.
  2049, 548, 873, 20, 990, 989, 2121, 3260, 902, 903, 5901, 5902, 5800, 6000, 6001, 2222, 22_222, 2022, 4899,
  5938, 512, 513, 514, 992, 4444, 623, 16_992, 16_993, 8006, 8291, 7547, 10_050, 10_051, 5666, 9100, 9101,
  9102, 9103, 10_001,
  // Containers and clusters.
  2375, 2376, 6443, 10_250, 10_255, 2379, 2380, 8500, 8200, 4646, 5044, 5601, 9093, 9115, 9104, 9187, 8472,
  30_000,
  // Printers, cameras, televisions, media, telephones.
  515, 631, 554, 8554, 1935, 37_777, 34_567, 5060, 5061, 1720, 32_400, 8096, 7070, 49_000, 62_078, 5555, 3689,
  1900, 2869, 5431, 8899, 9998, 9999, 6668, 1400, 8060, 55_443,
  // Industry and buildings.
  502, 102, 44_818, 20_000, 4840, 47_808, 1911, 4911, 2404, 789,
  // Old and rare, but still met.
  7, 9, 13, 17, 19, 37, 43, 49, 70, 79, 109, 113, 119, 179, 194, 210, 427, 530, 540, 543, 544, 563, 646, 691,
  706, 749, 860, 994, 1352, 1494, 2598, 1503, 1604, 1755, 2000, 2401, 5190, 6346, 7100,
  // Tunnels, chats, games, version control, accounting.
  1194, 1723, 1701, 500, 4500, 51_820, 5222, 5223, 5269, 5280, 6667, 6697, 25_565, 27_015, 3690, 9418, 1812,
  8333, 18_080, 30_303, 6881, 51_413, 9050, 9051, 3478, 5349, 8448, 64_738, 2003, 8125, 8126, 4949, 3493,
  19_999,
];

/**
 * @param count 1 to 65,535
 * @returns the first `count` ports of the ranking, ascending
 * @throws {SynprobeError} `ERR_PORT`
 */
export function topPorts(count: number): Uint16Array {
  if (!(Number.isInteger(count) && count >= 1 && count <= MAX_PORT)) {
    throw new SynprobeError(
      ERROR_CODES.port,
      `the number of top ports is a whole number from 1 to ${MAX_PORT}, not ${count}`,
    );
  }
  const chosen = new Set<number>();
  for (const port of RANKING) if (chosen.size < count) chosen.add(port);
  for (let port = MIN_PORT; chosen.size < count; port++) chosen.add(port);
  return Uint16Array.from(chosen).sort();
}
