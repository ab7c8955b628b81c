"""Answers SYNs as no kernel would: what to send is told by the port. For test/lab/replies.test.ts; stands on the far side's wire.

usage: responder.py INTERFACE < {"PORT": [{"f": flags, "a": "S+" | "S" | "Z" | "O", "on": further on in the sequence, ...}, ...]}
"""
import json, socket, struct, sys, time

F = dict(F=1, S=2, R=4, P=8, A=16, U=32)
table = json.load(sys.stdin)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind((sys.argv[1], 0))


def checksum(b):
    s = sum(struct.unpack("!%dH" % ((len(b) + 1) // 2), b + b"\0" * (len(b) % 2)))
    s = (s >> 16) + (s & 0xFFFF)
    return ~(s + (s >> 16)) & 0xFFFF


def segment(source, target, ports, ack, flags, text, seq):
    h = struct.pack("!HHIIBBHHH", *ports, seq, ack, 5 << 4, flags, 8192, 0, 0) + text
    pseudo = source + target + (struct.pack("!BBH", 0, 6, len(h)) if len(source) == 4 else struct.pack("!II", len(h), 6))
    return h[:16] + struct.pack("!H", checksum(pseudo + h)) + h[18:]


def ipv4(source, target, protocol, payload):
    h = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, 0, 61, protocol, 0, source, target)
    return h[:10] + struct.pack("!H", checksum(h)) + h[12:] + payload


def fragments(packet, v4, cuts):
    """Pieces of the payload that end after so many bytes each; the last one first."""
    head, payload = (packet[:20], packet[20:]) if v4 else (packet[:40], packet[40:])
    pieces = []
    for i, (start, end) in enumerate(zip([0] + cuts, cuts + [len(payload)])):
        more = end < len(payload)
        piece = payload[start:end]
        if v4:
            h = head[:2] + struct.pack("!HHH", 20 + len(piece), 7, more << 13 | start // 8) + head[8:10] + b"\0\0" + head[12:]
            pieces.append(h[:10] + struct.pack("!H", checksum(h)) + h[12:] + piece)
        else:
            part = bytes([head[6], 0]) + struct.pack("!HI", start | more, 7) + piece
            pieces.append(head[:4] + struct.pack("!HB", len(part), 44) + head[7:] + part)
    return pieces[::-1]


def answer(frame, one):
    ip = frame[14:]
    v4 = ip[0] >> 4 == 4
    source, target = (ip[12:16], ip[16:20]) if v4 else (ip[8:24], ip[24:40])
    syn = ip[20:] if v4 else ip[40:]
    sport, dport, seq = struct.unpack("!HHI", syn[:8])
    if "icmp" in one:
        body = struct.pack("!BBHI", *one["icmp"], 0, 0) + ip[:28]
        packet = ipv4(target, source, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])
    else:
        ack = {"S+": seq + 1, "S": seq, "Z": 0, "O": 0x12345678}[one.get("a", "S+")] & 0xFFFFFFFF
        flags = sum(F[c] for c in one["f"])
        tcp = segment(target, source, (dport, sport), ack, flags, b"x" * one.get("text", 0), 1000 + one.get("on", 0))
        if v4:
            packet = ipv4(target, source, 6, tcp)
        else:
            headers = [bytes.fromhex(h) for h in one.get("headers", [])]
            kinds = one.get("kinds", []) + [6]
            chain = b"".join(bytes([kinds[i + 1]]) + h[1:] for i, h in enumerate(headers))
            packet = struct.pack("!IHBB", 6 << 28, len(chain + tcp), kinds[0], 61) + target + source + chain + tcp
    packets = fragments(packet, v4, one["cut"]) if "cut" in one else [packet]
    tag = struct.pack("!HH", 0x8100, one["vlan"]) if "vlan" in one else b""
    time.sleep(one.get("delay", 0))
    for packet in packets:
        wire.send(frame[6:12] + frame[:6] + tag + frame[12:14] + packet)


print("ready", flush=True)
while True:
    frame, about = wire.recvfrom(65536)
    if about[2] == socket.PACKET_OUTGOING or len(frame) < 54:
        continue
    at = {0x0800: 34, 0x86DD: 54}.get(struct.unpack("!H", frame[12:14])[0])
    if at is None or frame[23 if at == 34 else 20] != 6 or len(frame) < at + 20 or frame[at + 13] & 0x16 != 2:
        continue
    for one in table.get(str(struct.unpack("!H", frame[at + 2 : at + 4])[0]), []):
        answer(frame, one)
