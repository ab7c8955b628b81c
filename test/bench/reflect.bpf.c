/*
 * A far side that costs next to nothing: turns each SYN to 198.18.0.0/15 around on the interface where it came in, as a SYN-ACK of
 * ports 80 and 443 and a RST of all others (RFC 9293 3.10.7.1, 3.10.7.2), and drops what else comes for these. Neighbours' packets
 * and all others pass. `npm run bench -- right` compiles and loads it; both ends of a veth pair need a program before one may send.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NETWORK 0xc6120000
#define MASK 0xfffe0000
#define FLAGS 0x3f
#define SYN 0x02
#define SYN_ACK 0x12
#define RST_ACK 0x14
#define NO_OPTIONS 0x5000
#define WORDS 10

/* The Internet checksum of a sum of 16-bit words (RFC 1071). */
static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 add(const __u16 *words)
{
	__u32 sum = 0;
#pragma unroll
	for (int k = 0; k < WORDS; k++)
		sum += words[k];
	return sum;
}

SEC("xdp")
int reflect(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) > end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != IPPROTO_TCP || ip->ihl != 5)
		return XDP_PASS;
	if ((bpf_ntohl(ip->daddr) & MASK) != NETWORK)
		return XDP_PASS;
	__u16 *flags = (__u16 *)tcp + 6;
	if ((*flags & bpf_htons(FLAGS)) != bpf_htons(SYN))
		return XDP_DROP;

	int options = (int)(end - data) - (int)(sizeof(*eth) + sizeof(*ip) + sizeof(*tcp));
	__u32 source = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = source;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(*tcp));
	ip->ttl = 64;
	ip->check = 0;
	ip->check = fold(add((__u16 *)ip));

	__u16 port = tcp->source;
	tcp->source = tcp->dest;
	tcp->dest = port;
	int open = tcp->source == bpf_htons(80) || tcp->source == bpf_htons(443);
	__u32 seq = bpf_ntohl(tcp->seq);
	tcp->seq = open ? bpf_htonl(seq * 2654435761u) : 0;
	tcp->ack_seq = bpf_htonl(seq + 1);
	*flags = bpf_htons(NO_OPTIONS | (open ? SYN_ACK : RST_ACK));
	tcp->window = open ? bpf_htons(64240) : 0;
	tcp->urg_ptr = 0;
	tcp->check = 0;
	__u32 pseudo = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp)) + (ip->saddr & 0xffff) + (ip->saddr >> 16) +
		       (ip->daddr & 0xffff) + (ip->daddr >> 16);
	tcp->check = fold(pseudo + add((__u16 *)tcp));

	unsigned char mac[ETH_ALEN];
	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
	if (options > 0 && options <= 40)
		bpf_xdp_adjust_tail(ctx, -options);
	return XDP_TX;
}

SEC("pass")
int pass_all(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
